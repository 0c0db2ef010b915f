"""Zarr arrays are read as `.npy` and `.npz` files of the same arrays are, in memory and in place."""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nelbo.data import DataWarning, TrainingStream, describe, load_data, loader
from nelbo.data.zarr_files import ZarrDataset
from nelbo.errors import DataError

zarr = pytest.importorskip("zarr", reason="the extra `zarr` reads Zarr arrays")
PIXELS = np.random.default_rng(0).integers(32, 256, (40, 6, 5, 3), dtype=np.uint8)


def write(path: Path, **arrays: Any) -> str:
    group = zarr.open_group(str(path), mode="w")
    for name, array in arrays.items():
        stored = group.create_array(name, shape=array.shape, chunks=(7, *array.shape[1:]), dtype=array.dtype)
        stored[...] = array
    return str(path)


@pytest.mark.parametrize("memory_budget", [0, 2**31])
def test_a_group_is_the_same_set_as_an_npz_file(tmp_path: Path, memory_budget: int) -> None:
    labels = np.arange(40) % 3
    np.savez(tmp_path / "x.npz", images=PIXELS, labels=labels)
    one = load_data(str(tmp_path / "x.npz"), seed=2)
    other = load_data(
        write(tmp_path / "x.zarr", images=PIXELS, labels=labels), seed=2, memory_budget=memory_budget, workers=0
    )
    assert isinstance(other.train, ZarrDataset) == (memory_budget == 0)
    for part in ("train", "test"):
        npz, chunks = getattr(one, part), getattr(other, part)
        assert torch.equal(npz.images(range(len(npz))), chunks.images(range(len(chunks))))
        assert torch.equal(npz.labels, chunks.labels) and npz.class_names == chunks.class_names


def test_training_in_place_has_the_order_of_an_array_in_memory(tmp_path: Path) -> None:
    spec = write(tmp_path / "x.zarr", images=PIXELS)
    memory, place = (load_data(spec, memory_budget=budget).train for budget in (2**31, 0))
    order = TrainingStream(len(memory), 9, seed=4)
    for workers in (0, 2):
        pairs = zip(loader(memory, order, 3, workers=0), loader(place, order, 3, workers=workers), strict=False)
        for one, other in islice(pairs, 5):
            assert one[0] == other[0] and torch.equal(one[1], other[1])


def test_images_in_place_are_resized_as_those_in_memory(tmp_path: Path) -> None:
    spec = write(tmp_path / "x.zarr", images=PIXELS)
    memory, place = (load_data(spec, size=4, mode="L", memory_budget=budget).train for budget in (2**31, 0))
    assert place.shape == (1, 4, 4)
    assert torch.equal(memory.images(range(len(memory))), place.images(range(len(place))))


def test_deep_and_measured_values_are_those_of_a_npy_file(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (20, 5, 8, 8)).astype(np.uint16)
    np.save(tmp_path / "x.npy", values)
    spec = write(tmp_path / "x.zarr", images=values)
    one, other = (load_data(each, quantum=1).train for each in (str(tmp_path / "x.npy"), spec))
    assert one.level_scale == other.level_scale
    assert torch.equal(one.images(range(len(one))), other.images(range(len(other))))
    with pytest.raises(DataError, match=r"holds uint16 from \d+ to \d+.*range='\d+,\d+'.*quantum=1"):
        load_data(write(tmp_path / "grey.zarr", images=values[:, 0]))


@pytest.mark.parametrize("kind", ["npy", "npz", "zarr"])
def test_nan_is_a_missing_pixel_in_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    missing = np.random.default_rng(2).random((12, 6, 6)) < 0.2
    values = np.where(missing, np.nan, np.random.default_rng(3).random((12, 6, 6)))
    spec = str(tmp_path / f"x.{kind}")
    if kind == "zarr":
        write(tmp_path / "x.zarr", images=values)
    else:
        np.save(spec, values) if kind == "npy" else np.savez(spec, images=values)
    with pytest.warns(DataWarning, match=r"has NaN .*: missing pixels") as caught:
        report, train = describe(spec), load_data(spec, held_out=0).train
    assert any("within 0..1; x became round(255 x)" in str(each.message) for each in caught)
    assert report.missing == pytest.approx(missing.mean())
    observed = train.observed(torch.arange(12))
    assert observed is not None and torch.equal(observed[:, 0], torch.from_numpy(~missing))


def test_damage_is_reported(tmp_path: Path) -> None:
    spec = write(tmp_path / "x.zarr", images=PIXELS)
    place = load_data(spec, memory_budget=0, held_out=0).train
    chunk = next(
        each
        for each in sorted((tmp_path / "x.zarr" / "images").rglob("*"))
        if each.is_file() and each.stat().st_size > 500
    )
    chunk.write_bytes(chunk.read_bytes()[:50])
    with pytest.raises(DataError, match=r"x\.zarr cannot be read .*; copy a damaged one again"):
        place.images(range(40))
    (tmp_path / "x.zarr" / "images" / "zarr.json").write_text("{")
    (tmp_path / "x.zarr" / "zarr.json").write_text("{")
    for budget in (0, 2**31):
        with pytest.raises(DataError, match=r"x\.zarr cannot be read"):
            load_data(spec, memory_budget=budget)


def test_a_group_without_images_says_what_it_holds(tmp_path: Path) -> None:
    spec = write(tmp_path / "x.zarr", left=PIXELS, right=PIXELS)
    with pytest.raises(DataError, match="holds left, right; expected `images`"):
        load_data(spec)
    with pytest.raises(DataError, match="data sets left, right; expected one"):
        load_data(spec, quantum=1)
