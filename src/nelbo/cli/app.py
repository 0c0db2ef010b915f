"""The program `nelbo`: its commands, `--version`, and how it prints errors and warnings."""

import logging
import sys
import time
import warnings
from typing import Annotated

import typer
from rich.text import Text

import nelbo
from nelbo.cli import (
    codec,
    compress,
    data,
    decompress,
    demo,
    evaluate,
    export,
    frechet,
    import_,
    info,
    inspect_,
    kl,
    plot,
    presets,
    restore,
    sample,
    score,
    table2,
    train,
)
from nelbo.cli.console import err, every
from nelbo.cli.flags import flags_of
from nelbo.errors import NelboError, NelboWarning
from nelbo.training import Processes, is_lost_process, keep_freed_memory, leave_processes

PAUSE = 2.0  # seconds, longer than a launcher takes to notice that a process has ended

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train denoising diffusion models, and use them to sample, restore, score and compress images. Their bound is "
    "reported in bits/dim.",
    epilog="Start with [bold]nelbo demo[/bold], or with [bold]nelbo train --data FOLDER --out runs/NAME[/bold]. "
    "[bold]nelbo COMMAND --help[/bold] lists the options of a command.",
)
app.command("train", epilog=data.POLICY)(train.train)
app.command("sample")(sample.sample)
app.command("restore")(restore.restore)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("codec")(codec.codec)
app.command("compress")(compress.compress)
app.command("decompress")(decompress.decompress)
app.command("inspect")(inspect_.inspect_)
app.command("import")(import_.import_)
app.command("export")(export.export)
app.command("frechet")(frechet.frechet)
app.command("data", epilog=data.POLICY)(data.data)
app.command("kl")(kl.kl)
app.add_typer(plot.app, name="plot")
app.command("table2")(table2.table2)
app.command("presets")(presets.presets)
app.command("info")(info.info)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        print(nelbo.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line. A `NelboError` prints one sentence and exits with code 2."""
    keep_freed_memory()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs its search for fonts
    warnings.showwarning = _print_warning  # type: ignore[assignment]
    try:
        app()
    except SystemExit as end:  # Typer ends every command with it
        if not end.code:
            leave_processes()
        raise
    except NelboError as error:
        _print_error(error.message(flags_of(_command())))
        sys.exit(2)
    except RuntimeError as error:
        if Processes.here().count == 1 or not is_lost_process(error):
            raise
        _print_error("another process has ended; its own error message says why.")
        sys.exit(1)


def _command() -> str:
    """The name of the command that is running."""
    return next(iter(sys.argv[1:]), "")


def _print_error(text: str) -> None:
    """Print an error in one line.

    Each of several processes prints its own error. The launcher ends all processes of a machine when one of them ends,
    so the others wait: where all made the same mistake, only the first of each machine prints it.
    """
    processes, place = Processes.here(), ""
    if processes.count > 1 and processes.index > 0:
        place = f" (process {processes.index} of {processes.count}, from 0)"
    if processes.local > 0:
        time.sleep(PAUSE)
    every.print(Text.assemble((f"error{place}: ", "bold red"), text), soft_wrap=True)


def _print_warning(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Print a warning of nelbo in one line; warnings of other libraries are not meant for the user."""
    if category.__module__.startswith("nelbo"):
        text = message.message(flags_of(_command())) if isinstance(message, NelboWarning) else str(message)
        err.print(Text.assemble(("warning: ", "bold yellow"), text), soft_wrap=True)
