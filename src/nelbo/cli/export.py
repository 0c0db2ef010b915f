"""`nelbo export`: a model for other places."""

from typing import Annotated

import typer

from nelbo.cli.console import err
from nelbo.interop import export_model


def export(
    run: Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")],
    out: Annotated[str, typer.Option(help="A folder to be made, or hf:owner/name for a repository of the Hub.")],
    format: Annotated[
        str,
        typer.Option(help="diffusers (a DDPMPipeline), torch (a program, .pt2) or nelbo (the run as it is)."),
    ] = "diffusers",
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a repository that is made; only its owner if absent.")
    ] = False,
) -> None:
    """Write a model as diffusers, torch.export or another nelbo reads it, into a folder or onto the Hub.

    What the format cannot express is refused by name; what stays behind is told.
    """
    exported = export_model(run, out, format=format, public=public)
    for note in exported.notes:
        err.print(f"note: {note}", highlight=False, soft_wrap=True)
    err.print(f"{run} is in {exported.place}", highlight=False, soft_wrap=True)
