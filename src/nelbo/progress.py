"""How long work reports its progress: to a function of the caller, or to a bar on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nelbo.errors import ConfigurationError, option

if TYPE_CHECKING:
    import rich.progress
    from rich.console import Console

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StageProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total), for work of several stages."""


def no_stages(stage: str, done: int, total: int) -> None:
    """Report to nobody: the default where a caller passes no `StageProgress`."""


class Bars:
    """Progress bars by name, a `StageProgress`. A bar appears at its first call and disappears when it is complete."""

    def __init__(self, progress: rich.progress.Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, Any] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Set the bar of this name to done / total."""
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, note="")
        self.progress.update(self.tasks[name], completed=done, total=total)
        if done >= total:
            self.progress.remove_task(self.tasks.pop(name))

    def of(self, name: str) -> Progress:
        """Return a function (done, total) that moves the bar of this name."""
        return lambda done, total: self(name, done, total)


@contextmanager
def bars(console: Console | None = None) -> Iterator[Bars]:
    """Show progress bars while the block runs, in a terminal or a notebook; elsewhere nothing.

    Args:
        console: where to show them; standard error if None.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    visible = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not visible) as progress:
        yield Bars(progress)


@contextmanager
def reported(progress: Progress | bool | None, name: str) -> Iterator[Progress]:
    """Yield the function that work reports to, for the argument `progress` of a call.

    Args:
        progress: a function (done, total); True for a progress bar; None or False for no report.
        name: what the work is called beside the bar.

    Raises:
        ConfigurationError: `progress` is something else.
    """
    if progress is True:
        with bars() as shown:
            yield shown.of(name)
    elif progress is None or progress is False:
        yield lambda done, total: None
    else:
        yield _function(progress, "done, total")


@contextmanager
def reported_stages(progress: StageProgress | bool | None) -> Iterator[StageProgress]:
    """Yield the function that work of several stages reports to; see `reported`.

    Raises:
        ConfigurationError: `progress` is something else.
    """
    if progress is True:
        with bars() as shown:
            yield shown
    elif progress is None or progress is False:
        yield no_stages
    else:
        yield _function(progress, "stage, done, total")


def _function(progress: Any, arguments: str) -> Any:
    """Return `progress` if it can be called."""
    if not callable(progress):
        raise ConfigurationError(
            f"{option('progress')} is {progress!r}; expected true for a progress bar, or a function of ({arguments})."
        )
    return progress
