"""`nelbo info`: this machine, as nelbo sees it."""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table

from nelbo.cli.console import emit_json, out
from nelbo.runs import bundled_models
from nelbo.training import bf16_wanted

PACKAGES = ("nelbo", "torch", "accelerate", "numpy", "pillow", "safetensors")


def info(
    json: Annotated[Path | None, typer.Option(help="Write it as JSON to this file (- for standard output).")] = None,
) -> None:
    """Show devices, number formats and versions."""
    found = gather()
    emit_json(found, json)
    if str(json) == "-":
        return
    table = Table(show_header=False)
    for name, value in found.items():
        table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    out.print(table)


def gather() -> dict[str, Any]:
    """What there is to know."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        **{package: version(package) for package in PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "devices": ["cpu", *gpus],
        "threads": torch.get_num_threads(),
        "bfloat16 in hardware": bf16_wanted("auto"),
        "training precision (auto)": "bf16" if bf16_wanted("auto") else "fp32",
        "bundled models": list(bundled_models()),
    }
