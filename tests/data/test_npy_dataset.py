"""A `.npy` file that is read in place gives the images that the same file gives from memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nelbo.data import ArrayDataset, DataWarning, NpyDataset, load_data, load_for_model
from nelbo.errors import DataError


def array_file(path: Path, *shape: int) -> Path:
    np.save(path, np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    return path


@pytest.mark.parametrize("shape", [(20, 8, 8), (20, 1, 8, 8), (20, 8, 8, 3), (20, 3, 8, 8), (20, 12, 9)])
def test_images_in_place_are_those_in_memory(tmp_path: Path, shape: tuple[int, ...]):
    """Every layout, also resized and converted for a model, read in any order."""
    path = array_file(tmp_path / "a.npy", *shape)
    there, here = load_for_model(str(path), (1, 8, 8), memory_budget=0), load_for_model(str(path), (1, 8, 8))
    assert isinstance(there.images, NpyDataset) and isinstance(here.images, ArrayDataset)
    order = torch.tensor([3, 4, 5, 19, 0, 0, 7])
    assert torch.equal(there.images.images(order), here.images.images(order))
    part = there.images.subset(order).subset(torch.tensor([1, 3]))
    assert torch.equal(part.images([0, 1]), here.images.images([4, 19]))
    assert there.images.images([]).shape == (0, 1, 8, 8)
    assert list(there.names) == list(here.names) == [f"a[{i}]" for i in range(20)]
    assert (there.resized, there.converted) == (here.resized, here.converted)


def test_training_splits_an_array_in_place_as_in_memory(tmp_path: Path):
    path = array_file(tmp_path / "a.npy", 40, 8, 8)
    there, here = load_data(path, memory_budget=0), load_data(path)
    assert not there.train.in_memory and here.train.in_memory
    for ours, theirs in ((there.train, here.train), (there.test, here.test)):
        assert torch.equal(ours.images(range(len(ours))), theirs.images(range(len(theirs))))


def test_a_range_or_another_type_is_read_into_memory(tmp_path: Path):
    path = array_file(tmp_path / "a.npy", 20, 8, 8)
    with pytest.warns(DataWarning, match="became 0..255"):
        assert load_data(path, memory_budget=0, range=(0, 100)).train.in_memory
    np.save(path, np.zeros((20, 8, 8), np.int32))
    assert load_for_model(str(path), (1, 8, 8), memory_budget=0).images.in_memory


def test_an_array_that_is_no_set_of_images_is_refused_in_place_too(tmp_path: Path):
    path = array_file(tmp_path / "a.npy", 20, 8, 8, 2)
    with pytest.raises(DataError, match=r"expected H x W"):
        load_for_model(str(path), (1, 8, 8), memory_budget=0)


def test_a_file_that_became_shorter_is_reported(tmp_path: Path):
    path = array_file(tmp_path / "a.npy", 20, 8, 8)
    images = load_for_model(str(path), (1, 8, 8), memory_budget=0).images
    array_file(path, 10, 8, 8)
    with pytest.raises(DataError, match="shorter than when it was opened"):
        images.images([19])
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        images.images([0])
