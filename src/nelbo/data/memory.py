"""A bound on the memory that images take while they are decoded, over all threads of a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class MemoryBound:
    """Lets threads decode at the same time while their images together take at most `most` bytes.

    An image that takes more is decoded when no other one is.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._used = 0
        self._changed = Condition()

    @contextmanager
    def reserve(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes are free, and hold them while the block runs."""
        size = min(size, self.most)
        with self._changed:
            self._changed.wait_for(lambda: self._used + size <= self.most)
            self._used += size
        try:
            yield
        finally:
            with self._changed:
                self._used -= size
                self._changed.notify_all()
