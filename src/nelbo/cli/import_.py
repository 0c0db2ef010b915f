"""`nelbo import`: a model of another program as a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nelbo.cli.console import say
from nelbo.cli.flags import flags_of
from nelbo.errors import NelboError


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder in diffusers format, run folder, or hf:OWNER/NAME for a repository on the Hugging Face Hub."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to create.")],
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Image side in pixels. Required if the model's configuration has no sample_size; otherwise replaces "
            "it.",
        ),
    ] = None,
) -> None:
    """Import a diffusers model, or a copy of a nelbo run, as a new run folder.

    DDPM and DDIM pipelines and plain UNet2DModels with safetensors weights are supported; of a training checkpoint, the
    moving average (unet_ema). No code from the repository is executed. Unsupported features cause an error that names
    the feature.
    """
    from nelbo.interop import import_model

    imported = import_model(source, out, size=size)
    for note in imported.marked:
        say(f"note: {NelboError(note).message(flags_of('import'))}")
    say(f"{source} is in {out}; try: nelbo sample {out}")
