"""SIGINT (Ctrl-C), SIGTERM and SIGHUP (a lost connection) as requests to stop.

`Trainer.run` (trainer.py) uses `stop_signals`: after a first signal it finishes the step, saves and returns.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` with the name of each SIGINT, SIGTERM or SIGHUP that arrives while the block runs.

    A SIGHUP that is ignored, as under nohup, stays so; one after another signal does not count, because a terminal that
    is closed and its shell both send one. Only the main thread receives signals; in any other thread the block runs
    without them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    asked = False

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        name, again, asked = signal.Signals(number).name, asked, True
        if not (again and name == "SIGHUP"):
            stop(name)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # Windows has none
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
