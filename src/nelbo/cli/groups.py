"""Groups of commands, built from a table of names, so that one command starts without the modules of the others."""

from collections.abc import Callable, Mapping
from functools import wraps
from importlib import import_module
from inspect import cleandoc
from pathlib import Path
from typing import Any

import typer

from nelbo.paths import expanded

Table = Mapping[str, tuple[str, str]]  # name of a command -> its module and its function


def help_text(command: Any) -> str:
    """Return a command's docstring with each paragraph on one line, so that the terminal wraps it."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in paragraphs)


def with_home(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that gets each path with `~` as the home folder: a shell leaves it in `--out=~/x`."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        return command(*arguments, **{name: _with_home(value) for name, value in options.items()})

    return run


def _with_home(value: Any) -> Any:
    if not isinstance(value, Path) or not str(value).startswith("~"):
        return value
    return expanded(value)


def build_group(table: Table, only: str, add: Callable[[typer.Typer, str, Any], None], **settings: Any) -> typer.Typer:
    """Build a group of commands.

    Args:
        table: the commands in the order of the help.
        only: the name of a command, to leave out all others and the options of the group, such as --help: it starts
            sooner, because less is imported. Any other text builds everything.
        add: adds a function to the group under a name.
        settings: of `typer.Typer`.
    """
    everything = only not in table
    group = typer.Typer(no_args_is_help=True, add_completion=everything, add_help_option=everything, **settings)
    for name in table if everything else [only]:
        module, function = table[name]
        add(group, name, with_home(getattr(import_module(module), function)))
    return group
