"""The program: commands, `--version`, and how errors are shown."""

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
from nelbo.cli.flags import as_flag
from nelbo.errors import NelboError, NelboWarning
from nelbo.training import Processes, is_lost_process, keep_freed_memory, leave_processes

PAUSE = 2.0  # seconds: far longer than a launcher takes to notice that a process has ended

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Train, sample, restore, score and compress with denoising diffusion models; their bound is in bits/dim.",
    epilog="Begin with [bold]nelbo demo[/bold], or [bold]nelbo train --data FOLDER --out runs/NAME[/bold]. "
    "Every command explains itself by --help.",
)
app.command("train", epilog=data.POLICY)(train.train)
app.command("sample")(sample.sample)
app.command("restore")(restore.restore)
app.command("evaluate")(evaluate.evaluate)
app.command("score")(score.score)
app.command("codec")(codec.codec)
app.command("compress")(compress.compress)
app.command("decompress")(decompress.decompress)
app.command("inspect")(decompress.inspect)
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
    """Run the command line; a person's mistake ends it with one sentence and exit code 2."""
    keep_freed_memory()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # which fonts it looked for is of no interest here
    warnings.showwarning = _warn  # type: ignore[assignment]
    try:
        app()
    except SystemExit as end:  # typer ends by it, whatever came of the command
        if not end.code:
            leave_processes()
        raise
    except NelboError as error:
        _tell(error.message(as_flag))
        sys.exit(2)
    except RuntimeError as error:
        if Processes.here().count == 1 or not is_lost_process(error):
            raise
        _tell("another process is gone; what it said tells why.")
        sys.exit(1)


def _tell(what: str) -> None:
    """An error, in one line.

    Of several processes each has its own to tell. The launcher ends all of a machine when one ends; so, where all made
    the same mistake, those that wait for the first are silent.
    """
    processes, place = Processes.here(), ""
    if processes.count > 1 and processes.index > 0:
        place = f" (process {processes.index} of {processes.count}, from 0)"
    if processes.local > 0:
        time.sleep(PAUSE)
    every.print(Text.assemble((f"error{place}: ", "bold red"), what), highlight=False, soft_wrap=True)


def _warn(message: Warning | str, category: type[Warning], *_: object) -> None:
    """Warnings as one line too; those of other libraries are not for the person at the keyboard."""
    if isinstance(message, NelboWarning):
        words = message.message(as_flag)
        err.print(Text.assemble(("warning: ", "bold yellow"), words), highlight=False, soft_wrap=True)
