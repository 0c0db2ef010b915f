"""The order in which training sees the images: a function of the seed and the step, never of hidden state.

So a run that resumes at step N goes on with exactly the images that an unbroken run would have seen, with any number of
workers, and N processes together see what one would.
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

from nelbo.data.datasets import ImageDataset
from nelbo.data.decoding import usable_processors
from nelbo.errors import ConfigurationError, NelboError
from nelbo.randomness import ORDER, derived_seed

Batch = tuple[int, Tensor, Tensor | None]
MOST_WORKERS = 4  # of one process, where their number is not given
PREFETCH = 4  # batches that each worker prepares ahead
WATCH_SECONDS = 0.5  # how often a worker looks whether its parent lives


class TrainingStream:
    """The endless order of example indices: position p is entry p % n of the permutation of epoch p // n.

    A batch may cross epochs, and may be larger than the set.

    Args:
        dataset_length: n, at least 1.
        batch_size: B, the global batch over all processes.
        seed: seeds the permutation of each epoch, together with the epoch's number.
        start: the position at which step 0 begins.
    """

    def __init__(self, dataset_length: int, batch_size: int, seed: int, start: int = 0) -> None:
        for name, value, least in (
            ("the data set's length", dataset_length, 1),
            ("--batch-size", batch_size, 1),
            ("start", start, 0),
        ):
            if value < least:
                raise ConfigurationError(f"{name} is {value}; expected at least {least}")
        self.dataset_length = dataset_length
        self.batch_size = batch_size
        self.seed = seed
        self.start = start
        self._latest: tuple[int, Tensor] = (-1, torch.empty(0))

    def indices(self, step: int) -> Tensor:
        """The examples of global batch `step` (0-based), int64 (B,)."""
        if step < 0:
            raise ConfigurationError(f"step is {step}; expected at least 0")
        pieces, position = [], self.start + step * self.batch_size
        end = position + self.batch_size
        while position < end:
            epoch, offset = divmod(position, self.dataset_length)
            piece = self._permutation(epoch)[offset : offset + end - position]
            pieces.append(piece)
            position += len(piece)
        return torch.cat(pieces)

    def _permutation(self, epoch: int) -> Tensor:
        """The order of an epoch, int64 (n,). The latest is remembered, since consecutive steps share it."""
        if self._latest[0] != epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, ORDER, epoch))
            self._latest = (epoch, torch.randperm(self.dataset_length, generator=generator))
        return self._latest[1]


def loader(
    dataset: ImageDataset,
    stream: TrainingStream,
    start_step: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int | None = None,
) -> Iterator[Batch]:
    """Without end, (step, images, labels) from `start_step` on: this rank's contiguous slice of each global batch.

    Images are uint8 (B / world, C, H, W), labels int64 (B / world,) or None. The batches are the same for every number
    of workers. Workers are processes: None takes up to `MOST_WORKERS` for a set that is decoded as it is read, and 0
    for one in memory, which is served as fast without. They die with their parent, also when it is killed, and never
    draw from the global random state. Raises `ConfigurationError` unless `world` divides the batch, `DataError` for a
    file that is gone.
    """
    if stream.batch_size % world or not 0 <= rank < world:
        raise ConfigurationError(
            f"--batch-size {stream.batch_size} is shared by {world} processes (this is number {rank}); give a multiple "
            f"of {world}"
        )
    if stream.dataset_length != len(dataset):
        raise ConfigurationError(
            f"the order is of {stream.dataset_length} images, and {dataset.name} has {len(dataset)}"
        )
    if workers is None:
        workers = 0 if dataset.in_memory else min(MOST_WORKERS, usable_processors())
    if workers < 0:
        raise ConfigurationError(f"--workers is {workers}; expected 0 or more")
    return _batches(_Steps(dataset, stream, rank, world), start_step, workers)


class _Steps(Dataset["Batch | NelboError"]):
    """This rank's batches as a map from the step. An error is handed over as a value, so its message stays one line."""

    def __init__(self, dataset: ImageDataset, stream: TrainingStream, rank: int, world: int) -> None:
        share = stream.batch_size // world
        self.dataset, self.stream = dataset, stream
        self.slice = slice(rank * share, (rank + 1) * share)

    def __getitem__(self, step: int) -> Batch | NelboError:
        indices = self.stream.indices(step)[self.slice]
        try:
            images = self.dataset.images(indices)
        except NelboError as error:
            return error
        return step, images, None if self.dataset.labels is None else self.dataset.labels[indices]


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
            sampler=order,  # endless: its length is never asked for
            num_workers=workers,
            collate_fn=_as_it_is,
            prefetch_factor=PREFETCH,
            worker_init_fn=_begin_worker,
            generator=torch.Generator(),  # else the loader draws its seed from the global state
        )
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _begin_worker(_: int) -> None:
    """In a new worker: one thread, deaf to Ctrl-C and to a SIGTERM that is not its parent's, mortal with its parent.

    Both signals often go to the whole process group (a terminal, `timeout`, a job scheduler). The parent then saves its
    state, for which its workers must still be there; it ends them itself.
    """
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the watching thread takes it
    threading.Thread(target=_obey_parent, args=(os.getppid(),), daemon=True).start()


def _obey_parent(adopted_from: int) -> None:
    """End this process when its parent says so or has gone, even if that was before this thread began."""
    parent = multiprocessing.parent_process()
    while os.getppid() == adopted_from and parent is not None and _exists(parent.pid):
        if _sender_of_sigterm() in (parent.pid, adopted_from):
            os._exit(0)
    os._exit(1)


def _sender_of_sigterm() -> int | None:
    """Wait `WATCH_SECONDS` for a SIGTERM; who sent it, or None. Elsewhere than on Linux torch's own handler serves."""
    if not hasattr(signal, "sigtimedwait"):
        time.sleep(WATCH_SECONDS)
        return None
    received = signal.sigtimedwait({signal.SIGTERM}, WATCH_SECONDS)
    return received.si_pid if received else None


def _exists(pid: int | None) -> bool:
    try:
        os.kill(pid or 0, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
