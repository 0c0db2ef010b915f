"""An archive whose blocks an engine encodes is the archive of one process."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch

from nelbo import engines
from nelbo.codec.archive_index import Member
from nelbo.engines import EncodeJob, EngineOptions, ProcessEngine
from nelbo.errors import RunError
from nelbo.runs import IntegerModel, packing
from tests.lattice.tiny import digits, tiny_integer_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run folder with an integer model; archives have blocks of 10 images."""
    monkeypatch.setattr(packing, "MOST_IN_BLOCK", 10)
    (tmp_path / "run").mkdir()
    tiny_integer_model().save(tmp_path / "run")
    return tmp_path / "run"


def images(num: int = 35) -> Iterator[packing.Packed]:
    return ((Member(f"{i}.png", 8, 8), image) for i, image in enumerate(digits(num)))


def many_at_once(job: EncodeJob) -> Callable[[Iterable[list[torch.Tensor]]], Iterator[bytes]]:
    """An engine that takes every block before it yields the first, as one with many workers does."""
    return lambda blocks: ProcessEngine().map(job, list(blocks))


@pytest.mark.parametrize("there", [0, 15, 20])
def test_blocks_that_are_taken_ahead_give_the_same_archive(folder: Path, tmp_path: Path, there: int):
    """Also where an archive is continued whose first blocks are in its file."""
    one = engines.pack(images(), folder, tmp_path / "one.nelbos")
    model = IntegerModel.load(folder)
    codec, job = model.archive_codec(), EncodeJob(str(folder), model.fingerprint.hex())

    def stopped() -> Iterator[packing.Packed]:
        yield from list(images())[:there]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        packing.pack(stopped(), codec, tmp_path / "two.nelbos")
    two = packing.pack(images(), codec, tmp_path / "two.nelbos", encode=many_at_once(job))
    assert (tmp_path / "one.nelbos").read_bytes() == (tmp_path / "two.nelbos").read_bytes()
    assert (one.num_images, one.num_blocks, one.num_dims) == (two.num_images, two.num_blocks, two.num_dims)


def test_a_worker_with_another_model_is_refused(folder: Path):
    with pytest.raises(RunError, match="is another model for a worker than for this process"):
        EncodeJob(str(folder), "00").open()


@pytest.mark.ray
def test_workers_of_ray_give_the_same_archive(folder: Path, tmp_path: Path):
    engines.pack(images(), folder, tmp_path / "one.nelbos")
    engines.pack(images(), folder, tmp_path / "two.nelbos", engine=EngineOptions("ray", workers=2))
    assert (tmp_path / "one.nelbos").read_bytes() == (tmp_path / "two.nelbos").read_bytes()
