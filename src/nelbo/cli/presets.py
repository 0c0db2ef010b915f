"""`nelbo presets`: the recipes."""

import json as json_text
from typing import Annotated

import typer
from rich.table import Table

from nelbo.cli.console import out
from nelbo.recipes import DESCRIPTIONS, PRESETS, preset
from nelbo.runs import bundled_models


def presets(
    name: Annotated[str | None, typer.Argument(help="Show every setting of this one.")] = None,
) -> None:
    """List the presets for `nelbo train --preset`, and the models that come with nelbo."""
    if name is not None:
        print(json_text.dumps(preset(name).to_json(), indent=2))
        return
    table = Table(title="presets", title_justify="left", show_header=False)
    table.add_column("name")
    table.add_column("what for")
    for key in PRESETS:
        table.add_row(key, DESCRIPTIONS[key])
    out.print(table)
    out.print(f"bundled models: {', '.join(bundled_models()) or 'none'}", highlight=False)
