"""The program `nelbo`: its commands, `--version`, and how it prints errors and warnings."""

import io
import logging
import sys
import time
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.text import Text

import nelbo
from nelbo.cli.console import err, every, visible
from nelbo.cli.data import POLICY
from nelbo.cli.ending import ended_by_signals
from nelbo.cli.flags import flags_of
from nelbo.cli.groups import build_group, help_text
from nelbo.errors import NelboError, NelboWarning
from nelbo.training import Processes, is_lost_process, keep_freed_memory, leave_processes

NAME = "nelbo"
PAUSE = 2.0  # seconds, longer than a launcher takes to notice that a process has ended
HELP = (
    "Train denoising diffusion models, and use them to sample, restore, score and compress images. nelbo reports a "
    "variational bound on the log-likelihood, in bits per dimension (bits/dim)."
)
START = (
    "Start with [bold]nelbo demo[/bold], or with [bold]nelbo train --data FOLDER --out runs/NAME[/bold]. "
    "Run [bold]nelbo COMMAND --help[/bold] for the options of a command."
)
# The module and the function of each command, in the order of the help.
COMMANDS = {
    "train": ("nelbo.cli.train", "train"),
    "sample": ("nelbo.cli.sample", "sample"),
    "restore": ("nelbo.cli.restore", "restore"),
    "evaluate": ("nelbo.cli.evaluate", "evaluate"),
    "score": ("nelbo.cli.score", "score"),
    "codec": ("nelbo.cli.codec", "codec"),
    "compress": ("nelbo.cli.compress", "compress"),
    "decompress": ("nelbo.cli.decompress", "decompress"),
    "pack": ("nelbo.cli.pack", "pack"),
    "unpack": ("nelbo.cli.unpack", "unpack"),
    "list": ("nelbo.cli.unpack", "list_"),
    "inspect": ("nelbo.cli.inspect_", "inspect_"),
    "import": ("nelbo.cli.import_", "import_"),
    "export": ("nelbo.cli.export", "export"),
    "frechet": ("nelbo.cli.frechet", "frechet"),
    "data": ("nelbo.cli.data", "data"),
    "kl": ("nelbo.cli.kl", "kl"),
    "plot": ("nelbo.cli.plot", "plot"),
    "table2": ("nelbo.cli.table2", "table2"),
    "presets": ("nelbo.cli.presets", "presets"),
    "studio": ("nelbo.cli.studio", "studio"),
    "info": ("nelbo.cli.info", "info"),
    "demo": ("nelbo.cli.demo", "demo"),
}
EPILOGS = {"train": POLICY, "data": POLICY}


def program(*only: str) -> typer.Typer:
    """Build the program.

    Args:
        only: the name of a command, to build it alone; for a figure "plot" and its name. See `build_group`.
    """

    def add(app: typer.Typer, name: str, command: Callable[..., Any]) -> None:
        if name == "plot":
            app.add_typer(command("".join(only[1:2])), name=name)
        else:
            app.command(name, help=help_text(command), epilog=EPILOGS.get(name))(command)

    app = build_group(
        COMMANDS,
        "".join(only[:1]),
        add,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
        help=HELP,
        epilog=START,
    )
    app.callback()(options)
    return app


def __getattr__(name: str) -> typer.Typer:
    """Build `app`, the program with all commands, for documentation and tests."""
    if name == "app":
        return program()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List `app` too, because `typer nelbo.cli.app utils docs` searches the names of this module."""
    return [*globals(), "app"]


def _version(wanted: bool) -> None:
    if wanted:
        print(nelbo.__version__)
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the program itself."""


def main() -> None:
    """Run the command line. A `NelboError`, or an `OSError`, prints one sentence and exits with code 2."""
    keep_freed_memory()
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it logs its search for fonts
    warnings.showwarning = _warning_printer()
    _print_every_name()
    try:
        with ended_by_signals():
            program(*sys.argv[1:3])(prog_name=NAME)  # also for `python -m nelbo`
    except SystemExit as end:  # Typer ends every command with it
        if not end.code:
            leave_processes()
        raise
    except NelboError as error:
        _print_error(error.message(flags_of(_command())))
        sys.exit(2)
    except (OSError, RuntimeError) as error:
        if Processes.here().count > 1 and is_lost_process(error):
            _print_error("another process has ended; its own error message says why.")
            sys.exit(1)
        if not isinstance(error, OSError):
            raise
        _print_error(_failed_access(error))
        sys.exit(2)


def _print_every_name() -> None:
    """Print characters that standard output or error cannot encode as escapes, instead of failing after the work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _failed_access(error: OSError) -> str:
    """Describe an error of the system that no command explains better."""
    reason = error.strerror or str(error)
    if error.filename is None:
        return f"reading or writing failed: {reason}."
    return f"{error.filename} could not be read or written: {reason}; check the path and its permissions."


def _command() -> str:
    """Return the name of the command, the first argument; "" if there is none."""
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
    every.print(Text.assemble((f"error{place}: ", "bold red"), visible(text)), soft_wrap=True)


def _warning_printer() -> Callable[..., None]:
    """Return a function that prints each warning of nelbo once, in one line.

    A command that reads its images twice would otherwise repeat them. Warnings of other libraries are not meant for the
    user.
    """
    printed: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *_: object) -> None:
        if isinstance(message, NelboWarning) and (text := message.message(flags_of(_command()))) not in printed:
            printed.add(text)
            err.print(Text.assemble(("warning: ", "bold yellow"), visible(text)), soft_wrap=True)

    return show
