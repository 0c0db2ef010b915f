"""`nelbo presets`: the recipes by name."""

from __future__ import annotations

import json as json_text
from typing import Annotated

import typer
from rich.table import Table

from nelbo.cli.console import out, show
from nelbo.recipes.presets import DESCRIPTIONS, PRESETS, preset


def presets(
    name: Annotated[str | None, typer.Argument(help="Preset whose settings are printed as JSON.")] = None,
) -> None:
    """List the presets for `nelbo train --preset` and the bundled models, or print the settings of one preset."""
    if name is not None:
        print(json_text.dumps(preset(name).to_json(), indent=2))
        return
    from nelbo.runs import bundled_models

    table = Table(title="presets", title_justify="left", show_header=False)
    table.add_column("name")
    table.add_column("purpose")
    for key in PRESETS:
        table.add_row(key, DESCRIPTIONS[key])
    out.print(table)
    show(f"bundled models: {', '.join(bundled_models()) or 'none'}")
