"""What lies beside images is matched by name or by place, and every mistake names the option and what to do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.condition import Condition
from nelbo.data import (
    ArrayDataset,
    ConditionedDataset,
    DataWarning,
    FolderDataset,
    Split,
    digest_of,
    load_data,
    taken_by,
)
from nelbo.data.batches import TrainingStream, loader
from nelbo.errors import ConfigurationError, DataError, ShapeError

RNG = np.random.default_rng(0)


def write(folder: Path, names: list[str], side: int = 8, make=lambda i: RNG.integers(0, 256, (8, 8), np.uint8)) -> None:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make(i)).save(path)


NAMES = [f"{i}.png" for i in range(6)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "images", NAMES)
    write(tmp_path / "half", NAMES, make=lambda i: np.full((4, 4), 10 * i, np.uint8))
    write(
        tmp_path / "masks",
        NAMES,
        make=lambda i: np.where(np.arange(64).reshape(8, 8) % 6 == i, 255, 0).astype(np.uint8),
    )
    rows = "\n".join(f"{name},{i},{'' if i == 2 else -i}" for i, name in enumerate(NAMES))
    (tmp_path / "table.csv").write_text(f"image,age,depth\n{rows}\n")
    return tmp_path


@pytest.mark.parametrize("budget", [2**31, 0], ids=["in memory", "from files"])
def test_folders_are_matched_by_name_in_both_parts(folder: Path, budget: int):
    split = load_data(
        folder / "images",
        mask=folder / "masks",
        table=folder / "table.csv",
        condition_images=folder / "half",
        held_out=2,
        memory_budget=budget,
    )
    for part in (split.train, split.test):
        told = part.condition(range(len(part)))
        numbers = [int(each) for each in (told.image[:, 0, 0, 0] * 255 / 10).round().tolist()]
        missing = [int((~each).nonzero()[0][-1]) % 6 for each in told.observed]
        assert numbers == missing and told.image.shape == (len(part), 1, 8, 8)
        assert torch.equal(told.image[:, :, 0::2, 0::2], told.image[:, :, 1::2, 1::2])
        assert bool((part.images(range(len(part)))[~told.observed] == 0).all())
    ages = torch.cat([split.train.numbers, split.test.numbers])
    assert sorted(ages[:, 0].tolist()) == list(range(6)) and int(ages.isnan().sum()) == 1
    train = split.train.condition(range(4)).vector
    assert float(train[:, 0].mean()) == pytest.approx(0, abs=1e-6)
    assert float(train[:, 0].std(correction=0)) == pytest.approx(1, abs=1e-6)
    assert split.test.scale == split.train.scale


def test_resized_images_have_resized_pairs(folder: Path):
    split = load_data(folder / "images", mask=folder / "masks", condition_images=folder / "half", size=4, held_out=1)
    told = split.train.condition([0])
    assert told.image.shape == told.observed.shape == (1, 1, 4, 4) and not bool(told.observed.all())


def test_endings_may_differ_and_a_missing_pair_is_named(folder: Path):
    (folder / "half" / "3.png").rename(folder / "half" / "3.bmp")
    assert load_data(folder / "images", condition_images=folder / "half").train.takes.channels == 1
    (folder / "half" / "3.bmp").unlink()
    with pytest.raises(DataError, match=r"condition_images.* has no picture for 3\.png"):
        load_data(folder / "images", condition_images=folder / "half")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image,age\n0.png,1\n", r"has no row for 5 images, the first 1\.png"),
        ("name,age\n0.png,1\n", "column 'image'"),
        ("image\n0.png\n", "at least one column of numbers"),
        ("", "column 'image'"),
        ("image,age\n0.png,old\n", r"line 2: age is 'old'; expected a number"),
    ],
)
def test_wrong_tables_are_reported(folder: Path, table: str, message: str):
    (folder / "table.csv").write_text(table)
    with pytest.raises(DataError, match=message):
        load_data(folder / "images", table=folder / "table.csv")
    with pytest.raises(DataError, match="cannot be read"):
        load_data(folder / "images", table=folder / "none.csv")


def test_pair_of_another_size_is_reported(folder: Path):
    Image.new("L", (5, 5)).save(folder / "half" / "4.png")
    with pytest.raises(DataError, match=r"4\.png in .*condition_images.* is 5x5; expected 4x4"):
        load_data(folder / "images", condition_images=folder / "half")
    write(folder / "third", NAMES, make=lambda i: np.zeros((3, 3), np.uint8))
    with pytest.raises(ShapeError, match="smaller by a whole factor"):
        load_data(folder / "images", condition_images=folder / "third")


def test_nan_and_a_mask_are_missing_pixels_at_the_same_places(tmp_path: Path):
    values = RNG.random((10, 6, 6))
    missing = RNG.random((10, 6, 6)) < 0.3
    with pytest.warns(DataWarning, match="missing pixels"):
        by_nan = load_data(np.where(missing, np.nan, values), held_out=3)
    by_mask = load_data(np.where(missing, values.min(), values), mask=missing, held_out=3)
    for one, other in ((by_nan.train, by_mask.train), (by_nan.test, by_mask.test)):
        assert torch.equal(one.observed(range(len(one))), other.observed(range(len(one))))
        assert torch.equal(one.images(range(len(one))), other.images(range(len(one))))
    np.save(tmp_path / "x.npy", np.where(missing, np.nan, values))
    with pytest.warns(DataWarning, match="missing pixels"):
        assert taken_by(load_data(tmp_path / "x.npy").train).masked


def test_arrays_are_matched_by_place_and_checked():
    images = RNG.integers(0, 256, (5, 6, 6), np.uint8)
    split = load_data(images, table=np.arange(5.0), condition_images=images, held_out=1)
    told = split.train.condition([2])
    assert torch.equal((told.image * 255).round().to(torch.uint8), split.train.images([2]))
    with pytest.raises(DataError, match="expected 5 x V numbers"):
        load_data(images, table=np.arange(4.0))
    with pytest.raises(ShapeError, match="4 paired images for 5 images"):
        load_data(images, condition_images=images[:4])
    with pytest.raises(DataError, match="expected bool"):
        load_data(images, mask=images)
    with pytest.raises(ConfigurationError, match="held-out part of its own"):
        load_data("digits", table=np.arange(1797.0))
    with pytest.raises(DataError, match="has none"):
        load_data(images, table="table.csv")


def test_loader_yields_the_condition_and_labels_alone_as_a_tensor():
    images = ArrayDataset(torch.zeros(4, 1, 4, 4, dtype=torch.uint8), labels=torch.arange(4))
    told = ConditionedDataset(images, numbers=torch.arange(4.0)[:, None])
    stream = TrainingStream(4, 2, seed=0)
    _, _, plain = next(loader(images, stream))
    _, _, given = next(loader(told, stream))
    assert isinstance(plain, torch.Tensor) and isinstance(given, Condition) and torch.equal(plain, given.label)
    split = Split(told.subset(torch.tensor([0, 1])), told.subset(torch.tensor([2, 3])))
    assert load_data(split).test.scale.means == (0.5,)


def test_files_are_read_lazily(folder: Path):
    split = load_data(folder / "images", condition_images=folder / "half", memory_budget=0)
    assert not split.train.in_memory and isinstance(split.train.paired, FolderDataset)


def test_digests_tell_masks_numbers_and_pairs_apart():
    images = ArrayDataset(torch.zeros(3, 1, 4, 4, dtype=torch.uint8))
    hole = torch.ones(3, 1, 4, 4, dtype=torch.bool)
    hole[0, 0, 1, 1] = False
    pairs = ArrayDataset(torch.full((3, 1, 2, 2), 5, dtype=torch.uint8))
    sets = [
        images,
        ConditionedDataset(images, observed=hole),
        ConditionedDataset(images, numbers=torch.tensor([[1.0], [2.0], [3.0]])),
        ConditionedDataset(images, numbers=torch.tensor([[1.0], [3.0], [2.0]])),
        ConditionedDataset(images, paired=pairs),
        ConditionedDataset(images, paired=ArrayDataset(pairs.images(range(3)) + 1)),
    ]
    assert len({digest_of(each) for each in sets}) == len(sets)
