"""What an engine is: it maps a job over items, in order, with as many items in memory as its workers need."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Job(Protocol):
    """Work on items, each independent of the others. Another process may get a pickled copy."""

    def open(self) -> Callable[[Any], Any]:
        """Load what the work needs, once for each worker, and return the function that does one item.

        The function may be called again for an item, if the first worker was lost. It raises a `NelboError` for a
        mistake of the user.
        """


class Engine(Protocol):
    """Where work is done."""

    def map(self, job: Job, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each item, in order.

        Items are taken from `items` only as workers become free, so that their number does not matter for the memory.

        Raises:
            NelboError: that of the first item that failed.
            RunError: a worker was lost again and again at the same item.
        """


class ProcessEngine:
    """The engine of this process: one item after the other."""

    def map(self, job: Job, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each item, in order; the job is opened for the first."""
        work = None
        for item in items:
            work = work or job.open()
            yield work(item)
