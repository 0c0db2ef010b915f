"""The terminal: progress, notes and errors on standard error, results on standard output."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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

# Characters of file names that would control the terminal or reverse its lines, and bytes that are not UTF-8.
ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str) -> str:
    """Return the text with control characters and undecoded bytes as escapes; line breaks and tabs stay.

    >>> print(visible("a\\x1b[2Jb"), visible("caf\\udce9"))
    a\\x1b[2Jb caf\\xe9
    """
    return ESCAPED.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python represents the byte 0x80..0xff in a name
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode()


class Terminal(Console):
    """A console for names that nelbo did not choose: no markup, no emoji, and no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Render a text, also that of a cell of a table, without control characters."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> None:
        """End the program if nobody reads the results; print no more notes if nobody reads those."""
        if self.stderr:
            self.quiet = True
        else:
            super().on_broken_pipe()

    def _check_buffer(self) -> None:
        """Write what was printed. A note that cannot be written, as to a closed terminal, does not end the work."""
        try:
            super()._check_buffer()
        except OSError:
            if not self.stderr:
                raise
            self.quiet = True


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
    if (found := _own_terminal()) is None:
        yield
        return
    terminal, before = found
    _change(terminal, [*before[:3], before[3] & ~termios.ECHOCTL, *before[4:]])
    try:
        yield
    finally:
        _change(terminal, before)


def _own_terminal() -> tuple[int, list[Any]] | None:
    """Return the terminal on standard input and its settings; None if there is none that this process may change."""
    if termios is None or sys.stdin is None:  # Windows, or `<&-`
        return None
    with suppress(OSError, ValueError, termios.error):  # standard input is no file, or no open terminal
        terminal = sys.stdin.fileno()
        return (terminal, termios.tcgetattr(terminal)) if os.tcgetpgrp(terminal) == os.getpgrp() else None
    return None


def _change(terminal: int, settings: list[Any]) -> None:
    """Change a terminal unless this process is now in its background, where the kernel would stop it."""
    with suppress(OSError, termios.error):  # the terminal was closed
        if os.tcgetpgrp(terminal) == os.getpgrp():
            termios.tcsetattr(terminal, termios.TCSANOW, settings)


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
