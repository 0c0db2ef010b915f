"""The order in which training reads the images: a function of the seed and the step, without hidden state.

A run that resumes at step N therefore reads exactly the images that an uninterrupted run reads, with any number of
workers, and several processes together read the same images as one.
"""

import itertools
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nelbo.condition import ConditionLike
from nelbo.data.datasets import ImageDataset
from nelbo.data.decoding import usable_processors
from nelbo.display import counted
from nelbo.errors import ConfigurationError, NelboError, option
from nelbo.randomness import ORDER, derived_seed

Batch = tuple[int, Tensor, ConditionLike | None]
MOST_WORKERS = 4  # per training process, unless the caller gives a number
PREFETCH = 4  # batches that each worker prepares ahead
WATCH_SECONDS = 0.5  # interval at which a worker checks that its parent is alive


class TrainingStream:
    """The endless order of example indices: position p is entry p % n of the permutation of epoch p // n.

    A batch may span several epochs, and may be larger than the set.

    >>> stream = TrainingStream(dataset_length=5, batch_size=3, seed=0)
    >>> sorted(torch.cat([stream.indices(step) for step in range(5)]).tolist()) == sorted(3 * list(range(5)))
    True

    Args:
        dataset_length: n, at least 1.
        batch_size: B, the global batch over all processes.
        seed: seeds the permutation of each epoch, together with the epoch number.
        start: position of the first example of step 0.
        window: the permutation of an epoch keeps the order of windows of so many examples and shuffles each of them,
            for sets that are read from their beginning; None shuffles the whole set.
    """

    def __init__(
        self, dataset_length: int, batch_size: int, seed: int, start: int = 0, window: int | None = None
    ) -> None:
        for name, value, least in (
            ("the length of the data set", dataset_length, 1),
            (option("batch_size"), batch_size, 1),
            ("start", start, 0),
            ("window", 1 if window is None else window, 1),
        ):
            if value < least:
                raise ConfigurationError(f"{name} is {value}; expected at least {least}.")
        self.dataset_length = dataset_length
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self.window = min(dataset_length, window or dataset_length)
        self._latest: tuple[tuple[int, int], Tensor] = ((-1, -1), torch.empty(0))

    def indices(self, step: int) -> Tensor:
        """Return the examples of global batch `step` (0-based), int64 (B,)."""
        if step < 0:
            raise ConfigurationError(f"step is {step}; expected at least 0.")
        pieces, position = [], self.start + step * self.batch_size
        end = position + self.batch_size
        while position < end:
            epoch, offset = divmod(position, self.dataset_length)
            number, offset = divmod(offset, self.window)
            piece = self._permutation(epoch, number)[offset : offset + end - position]
            pieces.append(piece)
            position += len(piece)
        return torch.cat(pieces)

    def _permutation(self, epoch: int, number: int) -> Tensor:
        """Return the order of a window of an epoch, int64 (window,). The latest is cached: consecutive steps share it.

        Window 0, which may be the whole set, has the seed of the epoch.
        """
        if self._latest[0] != (epoch, number):
            first = number * self.window
            seed = derived_seed(self.seed, ORDER, epoch, *([number] if number else []))
            length = min(self.window, self.dataset_length - first)
            order = first + torch.randperm(length, generator=torch.Generator().manual_seed(seed))
            self._latest = ((epoch, number), order)
        return self._latest[1]


def loader(
    dataset: ImageDataset,
    stream: TrainingStream,
    start_step: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
) -> Iterator[Batch]:
    """Yield (step, images, labels) without end from `start_step`: this rank's contiguous slice of each global batch.

    Images are uint8 (B / world, C, H, W), labels int64 (B / world,) or what else `ImageDataset.condition` returns. The
    batches do not depend on the number of workers. Workers are processes that exit with their parent, even if it is
    killed, and never draw from the global random state.

    Args:
        rank: the number of this training process, from 0.
        world: how many training processes there are.
        workers: worker processes. None starts up to `MOST_WORKERS` for a set that is decoded as it is read, and none
            for a set in memory, which workers would not speed up. A set that is read from its beginning has at most
            one, because each worker would read all of it.

    Raises:
        ConfigurationError: `world` does not divide the batch, or `stream` was made for another number of images.
        DataError: a file is missing or has changed.
    """
    if stream.batch_size % world or not 0 <= rank < world:
        raise ConfigurationError(
            f"{option('batch_size')} is {stream.batch_size}, which {world} processes share (this is number {rank}); "
            f"give a multiple of {world}."
        )
    if stream.dataset_length != len(dataset):
        raise ConfigurationError(
            f"the stream is for {counted(stream.dataset_length, 'image')}, but {dataset.name} has {len(dataset):,}; "
            "give it the length of the data set."
        )
    if workers is None:
        workers = 0 if dataset.in_memory else min(MOST_WORKERS, usable_processors())
    if workers < 0:
        raise ConfigurationError(f"{option('workers')} is {workers}; expected 0 or more.")
    if dataset.window is not None:
        workers = min(workers, 1)
    return _batches(_Steps(dataset, stream, rank, world), start_step, workers)


class _Steps(Dataset["Batch | NelboError"]):
    """This rank's batches as a map from the step.

    An error is returned, not raised: a `DataLoader` would add the worker's traceback to the message of a raised one.
    """

    def __init__(self, dataset: ImageDataset, stream: TrainingStream, rank: int, world: int) -> None:
        share = stream.batch_size // world
        self.dataset, self.stream = dataset, stream
        self.slice = slice(rank * share, (rank + 1) * share)

    def __getitem__(self, step: int) -> Batch | NelboError:
        indices = self.stream.indices(step)[self.slice]
        try:
            return step, self.dataset.images(indices), self.dataset.condition(indices)
        except NelboError as error:
            return error


def _batches(steps: _Steps, start_step: int, workers: int) -> Iterator[Batch]:
    order = itertools.count(start_step)
    for batch in map(steps.__getitem__, order) if workers == 0 else _in_processes(steps, order, workers):
        if isinstance(batch, NelboError):
            raise batch
        yield batch


def _in_processes(steps: _Steps, order: Iterator[int], workers: int) -> Iterator[Batch | NelboError]:
    return iter(
        DataLoader(
            steps,
            batch_size=None,
            sampler=order,  # endless: a loader without batch_size never reads its length
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=PREFETCH,
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # without one, the loader draws its seed from the global state
        )
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_: int) -> None:
    """Prepare a new worker: one thread, no reaction to Ctrl-C or a signal from others, exit with the parent.

    A terminal, `timeout` or a job scheduler often sends SIGINT, SIGTERM or SIGHUP to the whole process group. The
    parent then saves its state, which needs its workers; it ends them itself.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the watching thread receives it
    threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()


def _obey_parent(adopted_from: int) -> None:
    """End this process when its parent sends SIGTERM or is gone, even if it was gone before this thread started."""
    parent = multiprocessing.parent_process()
    while os.getppid() == adopted_from and parent is not None and _exists(parent.pid):
        if _sender_of_sigterm() in (parent.pid, adopted_from):
            os._exit(0)
    os._exit(1)


def _sender_of_sigterm() -> int | None:
    """Wait `WATCH_SECONDS` for a SIGTERM and return the sender's process id, or None.

    Without `sigtimedwait`, as on macOS, torch's own handling of SIGTERM applies.
    """
    if not hasattr(signal, "sigtimedwait"):
        time.sleep(WATCH_SECONDS)
        return None
    received = signal.sigtimedwait({signal.SIGTERM}, WATCH_SECONDS)
    return received.si_pid if received else None


def _exists(pid: int | None) -> bool:
    """Return whether a process with this id exists."""
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
