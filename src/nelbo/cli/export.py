"""`nelbo export`: a model in the format of another program."""

from __future__ import annotations

from typing import Annotated

import typer

from nelbo.cli.console import say
from nelbo.cli.options import RunArgument


def export(
    run: RunArgument,
    out: Annotated[
        str,
        typer.Option(
            "--out", "-o", help="Folder to create, or hf:OWNER/NAME for a repository on the Hugging Face Hub."
        ),
    ],
    format: Annotated[
        str,
        typer.Option(
            help="Format: diffusers (a DDPMPipeline, with code where diffusers lacks a part of the model), torch (a "
            "torch.export program, .pt2) or nelbo (a copy of the run folder)."
        ),
    ] = "diffusers",
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; by default it is private.")
    ] = False,
) -> None:
    """Export a model for diffusers, torch.export or another nelbo installation, to a folder or the Hugging Face Hub.

    If the format cannot represent the model, the command fails and gives the reason. The output, and README.md beside
    the exported files, say how to open them and what is not exported.
    """
    from nelbo.interop import export_model

    exported = export_model(run, out, format=format, public=public)
    for note in exported.notes:
        say(f"note: {note}")
    say(f"{run} is in {exported.place}")
