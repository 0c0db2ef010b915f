"""How a signal ends a command: by an exception, so that the terminal is restored and temporary files are removed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nelbo.training.processes import Processes

NAMES = ("SIGTERM", "SIGHUP")


class Ended(SystemExit):
    """A signal ended the program; `code` is 128 + its number, as a shell reports it."""


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Raise `Ended` at a SIGTERM or SIGHUP that arrives while the block runs.

    A signal that is ignored, as SIGHUP by nohup, stays so. Several processes keep the action of the system, because one
    that waits for the others would not notice the signal.
    """
    if Processes.here().count > 1 or threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    changed = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    def end(number: int, frame: FrameType | None) -> None:
        for each in changed:  # a terminal that is closed and its shell both send SIGHUP
            signal.signal(each, signal.SIG_DFL if each == signal.SIGTERM else signal.SIG_IGN)
        raise Ended(128 + number)

    for number in changed:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in changed:
            signal.signal(number, signal.SIG_DFL)
