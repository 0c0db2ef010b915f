"""`nelbo import`: a model from elsewhere into a run folder."""

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import err
from nelbo.cli.flags import as_flag
from nelbo.errors import NelboError
from nelbo.interop import import_model


def import_(
    source: Annotated[
        str,
        typer.Argument(help="A folder in diffusers' layout, a run folder, or hf:owner/name for one on the Hub."),
    ],
    out: Annotated[Path, typer.Option(help="The run folder to be made.")],
    size: Annotated[int | None, typer.Option(min=1, help="Side of the images, if not as the model tells.")] = None,
) -> None:
    """Make a run folder of a model of diffusers', which sample, evaluate and score take like any other.

    DDPM and DDIM pipelines, and bare UNet2DModels, with safetensors weights; no code of theirs runs. What nelbo has no
    counterpart of is refused by name.
    """
    imported = import_model(source, out, size=size)
    for note in imported.marked:
        err.print(f"note: {NelboError(note).message(as_flag)}", highlight=False, soft_wrap=True)
    err.print(f"{source} is in {out}; try: nelbo sample {out}", highlight=False, soft_wrap=True)
