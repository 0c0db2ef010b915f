"""The engine ray: a job opened once in each of several worker processes, on this machine or a cluster.

Plain actors instead of Ray Data: items are made as workers become free (Ray Data takes its input at once, and images in
memory are a part of their item), results come in order, and each is complete on disk before the next one counts, which
makes the work restartable. A lost worker is started again by Ray, and its items are done again.
"""

import logging
import os
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any

from nelbo.data.decoding import usable_processors
from nelbo.engines.engine import Job
from nelbo.engines.options import EngineOptions
from nelbo.errors import ConfigurationError, NelboError, RunError, option

CONNECT_SECONDS = 10.0
RETRIES = 3  # of an item whose worker was lost
AHEAD = 2  # items that are sent to a worker at once, so that it need not wait
WINDOW = 8  # items per worker that are begun before the first of them is done


class _Worker:
    """The process of one worker."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.work: Callable[[Any], Any] | None = None

    def do(self, item: Any) -> Any:
        """Do one item. An error of nelbo is returned: Ray would add the worker's traceback to a raised one."""
        try:
            self.work = self.work or self.job.open()
            return self.work(item)
        except NelboError as error:
            return error


class RayEngine:
    """Workers of Ray.

    Args:
        ray: the package.
        workers: how many.
        gpus: the number for each.
    """

    def __init__(self, ray: Any, workers: int, gpus: float) -> None:
        self.ray, self.workers, self.gpus = ray, workers, gpus

    def map(self, job: Job, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the result of each item, in order; see `Engine.map`."""
        todo = enumerate(items)
        kind = self.ray.remote(num_cpus=1, num_gpus=self.gpus, max_restarts=-1, max_task_retries=RETRIES)(_Worker)
        actors = [kind.remote(job) for _ in range(self.workers)]  # a job is small, so that Ray keeps it for restarts
        free = deque(actors * AHEAD)
        running, done = dict[Any, tuple[int, Any]](), dict[int, Any]()
        begun = first = 0
        while True:
            while free and begun - first < WINDOW * self.workers and (found := next(todo, None)) is not None:
                actor = free.popleft()
                running[actor.do.remote(found[1])] = (found[0], actor)
                begun += 1
            if not running:
                return
            [ready], _ = self.ray.wait(list(running), num_returns=1)
            number, actor = running.pop(ready)
            done[number] = self._outcome(ready)
            free.append(actor)
            while first in done:
                if isinstance(outcome := done.pop(first), NelboError):
                    raise outcome
                yield outcome
                first += 1

    def _outcome(self, ready: Any) -> Any:
        """Return the result of an item that is done, or the error in its place."""
        try:
            return self.ray.get(ready)
        except self.ray.exceptions.RayTaskError:
            raise  # a fault of nelbo
        except self.ray.exceptions.RayError as error:
            return RunError(
                f"a worker was lost {RETRIES + 1} times at the same part ({type(error).__name__}), perhaps because its "
                f"memory ran out; repeat the command with a smaller {option('batch_size')} or fewer "
                f"{option('workers')}, or look into Ray's logs."
            )


@contextmanager
def ray_engine(options: EngineOptions) -> Iterator[RayEngine]:
    """Start Ray or connect to a cluster; at the end, stop what was started. A Ray that the caller started stays.

    Raises:
        ConfigurationError: Ray is not installed, there is no cluster at the address, or it has too few processors.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would send reports to its makers
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError(
            "the engine ray needs the package ray; install it by `pip install 'nelbo[ray]'`."
        ) from error
    with ExitStack() as ending:
        if not ray.is_initialized():
            # where a worker is lost, Ray prints so to standard output, which may be JSON
            ending.enter_context(redirect_stdout(sys.stderr))
            ending.callback(ray.shutdown)
            _start(ray, options)
        there = int(ray.cluster_resources().get("CPU", 0))
        workers = options.workers or max(there, 1)
        if workers > there:
            raise ConfigurationError(
                f"{option('workers')} is {workers}, and Ray has {there} processors; give at most that many."
            )
        yield RayEngine(ray, workers, options.gpus or 0)


def _start(ray: Any, options: EngineOptions) -> None:
    """Start Ray on this machine, or connect to a cluster."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if options.address is None:
        ray.init(num_cpus=options.workers or usable_processors(), include_dashboard=False, **quiet)
        return
    try:
        host, _, port = options.address.removeprefix("ray://").rpartition(":")
        if host and port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(address=options.address, **quiet)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ConfigurationError(
            f"{option('address', options.address)}: no Ray cluster was reached ({reason}); start one with Ray's own "
            "program, which prints its address."
        ) from error
