"""The terminal: progress, notes and errors on standard error, results on standard output."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from nelbo import progress
from nelbo.progress import Bars
from nelbo.training.processes import is_first_process

if TYPE_CHECKING:
    from nelbo.data import Prepared, Reject

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

MOST_NAMED = 10  # files listed by name; further files are counted

# Characters that would control the terminal or reverse its lines, which file names may contain.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """Return the text with control characters as escapes, such as \\x1b; line breaks and tabs stay.

    >>> print(visible("a\\x1b[2Jb"))
    a\\x1b[2Jb
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class Terminal(Console):
    """A console for names that nelbo did not choose: no markup, no emoji, and no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a text, also that of a cell of a table, without control characters."""
        return super().render_str(visible(text), **options)


# Only the first process prints.
out = Terminal(quiet=not is_first_process())
err = Terminal(stderr=True, quiet=not is_first_process())
every = Terminal(stderr=True)  # for errors, from every process


def show(text: str) -> None:
    """Print results on standard output; the terminal wraps long lines."""
    out.print(text, soft_wrap=True)


def say(text: str) -> None:
    """Print a note on standard error; the terminal wraps long lines."""
    err.print(text, soft_wrap=True)


@contextmanager
def without_echo() -> Iterator[None]:
    """Keep the terminal from writing ^C into a progress bar, which would then be printed twice."""
    if termios is None or not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    local = before[3] & ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, [*before[:3], local, *before[4:]])
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


@contextmanager
def bars() -> Iterator[Bars]:
    """Show progress bars on standard error while the block runs."""
    with without_echo(), progress.bars(err) as shown:
        yield shown


def name_changes(prepared: Prepared, rest: str = "; --no-resize leaves them out") -> None:
    """Print how many images were resized or converted for the model."""
    if prepared.note:
        say(f"{prepared.note}, as in training{rest}")


def name_rejects(rejects: Sequence[Reject], rest: str = "--json lists them") -> None:
    """Print which files were skipped and why: the first ones by name, the others as a count."""
    for reject in rejects[:MOST_NAMED]:
        say(f"skipped {reject.path}: {reject.reason}")
    if len(rejects) > MOST_NAMED:
        hint = f" ({rest})" if rest else ""
        say(f"skipped {len(rejects) - MOST_NAMED} more{hint}")
