"""SIGINT (Ctrl-C) and SIGTERM as requests to stop.

`Trainer.run` (trainer.py) uses `stop_signals`: after a first signal it finishes the step, saves and returns.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_signals(stop: Callable[[str], None]) -> Iterator[None]:
    """Call `stop` with the name of each SIGINT or SIGTERM that arrives while the block runs.

    Only the main thread receives signals; in any other thread the block runs without them.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        stop(signal.Signals(number).name)

    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)
