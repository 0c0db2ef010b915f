"""`nelbo info`: the devices, number formats and versions that nelbo uses on this machine."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from nelbo.cli.console import out
from nelbo.cli.options import JsonOption
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, write_results

PACKAGES = ("nelbo", "torch", "accelerate", "numpy", "pillow", "safetensors")


def info(json: JsonOption = None) -> None:
    """Show devices, supported precisions and versions."""
    check_outputs({"--json": json})
    found = gather()
    if prints_table(json):
        table = Table(show_header=False)
        for name, value in found.items():
            table.add_row(name, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
        out.print(table)
    write_results(found, json)


def gather() -> dict[str, Any]:
    """Collect what `nelbo info` shows."""
    import platform
    from importlib.metadata import version

    import torch

    from nelbo.runs import bundled_models
    from nelbo.training import bf16_wanted

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
