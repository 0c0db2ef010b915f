"""How long work reports its progress: to a function of the caller, or on standard error as bars or lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nelbo.errors import ConfigurationError, option, shown

if TYPE_CHECKING:
    import rich.progress
    from rich.console import Console

Progress = Callable[[int, int], None]
"""Called with (done, total)."""

StageProgress = Callable[[str, int, int], None]
"""Called with (stage, done, total), for work of several stages."""

FIRST_LINE, LINES = 30.0, 0.1  # seconds until the first line of progress, and the share of the time between two lines


def duration(seconds: float) -> str:
    """Write a duration as 1:23:45 or 2:34."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def no_stages(stage: str, done: int, total: int) -> None:
    """Report to nobody: the default where a caller passes no `StageProgress`."""


def shifted(progress: Progress | None, before: int, whole: int) -> Progress | None:
    """Return the progress of a part of the work, which `before` of `whole` steps precede."""
    return None if progress is None else lambda done, total: progress(before + done, whole)


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


class Pace:
    """Decides when a line of progress is due where no bar can be shown: rarer and rarer as the work takes longer."""

    def __init__(self) -> None:
        self.began = self.last = time.monotonic()

    def due(self) -> bool:
        """Return whether to print a line now; the next one is then due later."""
        now = time.monotonic()
        if now - self.last < max(FIRST_LINE, LINES * (now - self.began)):
            return False
        self.last = now
        return True

    def left(self, share: float) -> str:
        """Write the time that the rest of the work takes if `share` of it, above 0, is done."""
        return f"{duration((self.last - self.began) / share * (1 - share))} left"


class Lines(Bars):
    """Lines of progress for a log file or a pipe, where a bar cannot be shown. Short work prints none."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.paces: dict[str, Pace] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Print a line about this stage if one is due."""
        pace = self.paces.setdefault(name, Pace())
        if done >= total:
            del self.paces[name]
        elif done > 0 and pace.due():
            self.console.print(f"{name}: {done} of {total}, {pace.left(done / total)}", soft_wrap=True)


@contextmanager
def bars(console: Console | None = None) -> Iterator[Bars]:
    """Show progress bars while the block runs, in a terminal or a notebook; elsewhere print a line now and then.

    Args:
        console: where to show them; standard error if None.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if not (console.is_terminal or console.is_jupyter):
        yield Lines(console)
        return
    with Progress(*columns, console=console, transient=True) as progress:
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
            f"{option('progress')} is {shown(progress)}; expected true for a progress bar, or a function of "
            f"({arguments})."
        )
    return progress
