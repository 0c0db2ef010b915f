import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nelbo.data import ArrayDataset, ImageDataset, TrainingStream, load_data, loader
from nelbo.data import batches as batches_module
from nelbo.errors import ConfigurationError, DataError

LENGTHS, BATCHES, SEEDS = st.integers(1, 40), st.integers(1, 100), st.integers(-(2**63), 2**64 - 1)


def numbered(total: int, labels: bool = True) -> ArrayDataset:
    index = torch.arange(total)
    return ArrayDataset(index.to(torch.uint8)[:, None, None, None], labels=index if labels else None)


@given(LENGTHS, BATCHES, SEEDS)
def test_each_epoch_contains_each_image_once(length: int, batch: int, seed: int) -> None:
    stream = TrainingStream(length, batch, seed)
    positions = torch.cat([stream.indices(step) for step in range(-(-3 * length // batch))])
    for epoch in range(3):
        assert sorted(positions[epoch * length : (epoch + 1) * length].tolist()) == list(range(length))


@given(LENGTHS, BATCHES, SEEDS, st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_batch_depends_only_on_seed_and_step(length: int, batch: int, seed: int, steps: list[int]) -> None:
    used = TrainingStream(length, batch, seed)
    for step in steps:  # in any order, from a used and from a new stream
        assert torch.equal(used.indices(step), TrainingStream(length, batch, seed).indices(step))
        assert used.indices(step).shape == (batch,) and used.indices(step).dtype == torch.int64


@given(LENGTHS, BATCHES, st.integers(1, 20), SEEDS)
def test_order_does_not_depend_on_batch_size(length: int, batch: int, other: int, seed: int) -> None:
    def order(size: int) -> list[int]:
        stream = TrainingStream(length, size, seed)
        return torch.cat([stream.indices(step) for step in range(-(-100 // size))])[:100].tolist()

    assert order(batch) == order(other)
    assert TrainingStream(length, batch, seed, start=7).indices(0).tolist()[:10] == order(1)[7:17][:batch]


def test_orders_differ_and_global_state_is_unchanged() -> None:
    state = torch.random.get_rng_state()
    stream = TrainingStream(100, 100, 0)
    orders = [stream.indices(0), stream.indices(1), TrainingStream(100, 100, 1).indices(0)]
    list(itertools.islice(loader(numbered(100), stream, workers=1), 2))
    assert all(not torch.equal(one, other) for one, other in itertools.combinations(orders, 2))
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("arguments", [(0, 1, 0), (1, 0, 0), (1, 1, 0, -1)])
def test_invalid_stream_arguments_are_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="expected at least"):
        TrainingStream(*arguments)


def batches(dataset: ImageDataset, number: int = 12, **options: int) -> list[tuple[int, list[int], list[int] | None]]:
    stream = TrainingStream(len(dataset), 8, seed=3)
    taken = itertools.islice(loader(dataset, stream, **options), number)
    return [
        (step, images.flatten(1).tolist(), None if labels is None else labels.tolist())
        for step, images, labels in taken
    ]


def test_batches_do_not_depend_on_workers() -> None:
    expected = batches(numbered(30))
    assert [step for step, _, _ in expected] == list(range(12))
    assert expected[0][1] == [[index] for index in TrainingStream(30, 8, 3).indices(0).tolist()]
    assert all(labels == [pixels[0] for pixels in images] for _, images, labels in expected)
    assert batches(numbered(30), workers=2) == expected
    assert batches(numbered(30), number=5, start_step=7, workers=2) == expected[7:]


def test_ranks_share_each_batch_in_order() -> None:
    whole = batches(numbered(30))
    halves = [batches(numbered(30), rank=rank, world=2) for rank in (0, 1)]
    for (step, images, _), (_, first, _), (_, second, _) in zip(whole, *halves, strict=True):
        assert images == first + second, step
    with pytest.raises(ConfigurationError, match="give a multiple of 3"):
        batches(numbered(30), world=3)


def test_batch_may_exceed_the_set_without_labels() -> None:
    step, images, labels = batches(numbered(1, labels=False), number=2)[1]
    assert (step, images, labels) == (1, [[0]] * 8, None)


def test_missing_file_in_worker_is_one_line(tmp_path: Path, save: Callable[..., Path]) -> None:
    paths = [save(f"{index}.png", index) for index in range(5)]
    lazy = load_data(str(tmp_path), memory_budget=0, held_out=0).train
    assert batches(lazy, workers=2) == batches(load_data(str(tmp_path), held_out=0).train)
    paths[0].unlink()
    for workers in (0, 1):
        with pytest.raises(DataError, match=r"^\S*0\.png was readable .*No such file[^\n]*$"):
            batches(lazy, workers=workers)


@pytest.mark.parametrize(("processors", "expected"), [(1, 1), (3, 3), (64, 4)])
def test_default_workers_only_for_sets_on_disk(
    tmp_path: Path, save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, processors: int, expected: int
) -> None:
    for index in range(5):
        save(f"{index}.png", index)
    eager, lazy = (load_data(str(tmp_path), memory_budget=budget, held_out=0).train for budget in (2**20, 0))
    assert (eager.in_memory, lazy.in_memory) == (True, False)
    chosen: list[int] = []
    begin = batches_module._batches
    monkeypatch.setattr(batches_module, "usable_processors", lambda: processors)
    monkeypatch.setattr(batches_module, "_batches", lambda *given: chosen.append(given[2]) or begin(*given[:2], 0))
    assert batches(lazy) == batches(eager) == batches(lazy, workers=2)
    assert chosen == [expected, 0, 2]


def test_default_workers_give_the_same_batches(tmp_path: Path, save: Callable[..., Path]) -> None:
    for index in range(5):
        save(f"{index}.png", index)
    lazy = load_data(str(tmp_path), memory_budget=0, held_out=0).train
    assert batches(lazy) == batches(lazy, workers=0)


def test_stream_must_match_the_set() -> None:
    with pytest.raises(ConfigurationError, match="stream is for 5 images, but array has 6"):
        loader(numbered(6), TrainingStream(5, 2, 0))
    with pytest.raises(ConfigurationError, match="workers is -1; expected 0 or more"):
        loader(numbered(6), TrainingStream(6, 2, 0), workers=-1)


PARENT = """
import os, sys, time, torch
from pathlib import Path
from nelbo.data import ArrayDataset, TrainingStream, loader

class Slow(ArrayDataset):
    left = 2
    def images(self, indices):
        self.left -= 1
        time.sleep(60 if self.left < 0 and KIND == "stuck" else 0)
        return super().images(indices)

KIND = sys.argv[1]
data = Slow(torch.zeros(64, 3, 32, 32, dtype=torch.uint8))
batches = loader(data, TrainingStream(64, 32, 0), workers=2)
for _ in range(3):
    next(batches)
print(*Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split(), flush=True)
while KIND == "moving":
    next(batches)
if KIND == "stuck":
    time.sleep(100)
"""
needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc to list the workers")


@contextmanager
def started(kind: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start a parent process with two workers, and yield it with the ids of the workers."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-W", "ignore:This DataLoader will create", "-c", PARENT, kind]  # on a single core
    with subprocess.Popen(command, text=True, **pipes) as parent:
        try:
            assert parent.stdout is not None
            yield parent, [int(worker) for worker in parent.stdout.readline().split()]
        finally:
            parent.kill()


@needs_proc
def test_workers_ignore_others_signals_and_exit_with_parent() -> None:
    with started("moving") as (moving, first), started("stuck") as (stuck, second):
        workers = first + second
        assert len(first) >= 2 and len(second) >= 2
        for worker in workers:
            os.kill(worker, signal.SIGTERM)
            os.kill(worker, signal.SIGINT)
        time.sleep(0.3)
        assert moving.poll() is None and stuck.poll() is None and all(map(running, workers))
    deadline = time.monotonic() + 30
    while any(map(running, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(running, workers))


@needs_proc
def test_program_with_endless_batches_exits_cleanly() -> None:
    with started("ending") as (parent, workers):
        _, errors = parent.communicate(timeout=50)
        assert (parent.returncode, errors) == (0, "")
        assert not any(map(running, workers))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
