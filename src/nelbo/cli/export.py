"""`nelbo export`: a model in the format of another program."""

from __future__ import annotations

from typing import Annotated

import typer

from nelbo.cli.console import say
from nelbo.cli.options import RunArgument


def export(
    run: RunArgument,
    out: Annotated[str, typer.Option(help="Folder to create, or hf:OWNER/NAME for a repository on the Hub.")],
    format: Annotated[
        str,
        typer.Option(
            help="diffusers (a DDPMPipeline), torch (a torch.export program, .pt2) or nelbo (the run itself)."
        ),
    ] = "diffusers",
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; by default it is private.")
    ] = False,
) -> None:
    """Write a model for diffusers, torch.export or another nelbo, into a folder or onto the Hub.

    A model that the format cannot express is refused, with the reason. Notes list what the export leaves out.
    """
    from nelbo.interop import export_model

    exported = export_model(run, out, format=format, public=public)
    for note in exported.notes:
        say(f"note: {note}")
    say(f"{run} is in {exported.place}")
