"""A set of many images holds their places in few bytes, and reads shards in the order of a folder."""

import io
import tarfile
import tracemalloc
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nelbo.data import FolderDataset, TrainingStream, load_data, loader
from nelbo.data.stored import StoredImage, StoredImages


def write_both(root: Path, num: int) -> tuple[Path, Path]:
    """Write the same images as a folder and as shards of 50."""
    folder, shards = root / "folder", root / "shards"
    folder.mkdir(parents=True)
    shards.mkdir()
    for start in range(0, num, 50):
        with tarfile.open(shards / f"{start:06d}.tar", "w") as archive:
            for i in range(start, min(start + 50, num)):
                Image.fromarray(np.full((2, 3), i % 251, np.uint8)).save(folder / f"{i:06d}.png")
                archive.add(folder / f"{i:06d}.png", f"{i:06d}.png")
                info = tarfile.TarInfo(f"{i:06d}.cls")
                info.size = 1
                archive.addfile(info, io.BytesIO(b"%d" % (i % 2)))
    return folder, shards


def opened(spec: Path) -> FolderDataset:
    train = load_data(str(spec), memory_budget=0, workers=0).train
    assert isinstance(train, FolderDataset)
    return train


def test_training_reads_shards_in_the_order_of_the_same_folder(tmp_path: Path) -> None:
    folder, shards = map(opened, write_both(tmp_path, 120))
    stream = TrainingStream(len(folder), 32, seed=5)
    for one, other in islice(zip(loader(folder, stream, 3, workers=0), loader(shards, stream, 3), strict=True), 6):
        assert torch.equal(one[1], other[1]) and one[0] == other[0]
        assert torch.equal(
            other[2], other[1][:, 0, 0, 0].long() % 2
        )  # the classes of the shards belong to their images


def test_one_epoch_of_shards_has_every_image_once(tmp_path: Path) -> None:
    shards = opened(write_both(tmp_path, 120)[1])
    batches = islice(loader(shards, TrainingStream(len(shards), 19, seed=1), workers=0), len(shards) // 19)
    values = torch.cat([images[:, 0, 0, 0] for _, images, _ in batches]).tolist()
    assert len(values) == len(shards) == len(set(values))


def held_bytes(spec: Path) -> int:
    tracemalloc.start()
    kept = opened(spec)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) > 0
    return held


def test_memory_does_not_grow_with_the_pixels(tmp_path: Path) -> None:
    """Beyond its name, an image takes 32 bytes for its place and 8 for its label; lists grow by an eighth ahead."""
    few, many = write_both(tmp_path / "few", 100)[1], write_both(tmp_path / "many", 1100)[1]
    opened(few)  # what is imported and cached at the first use
    per_image = (held_bytes(many) - held_bytes(few)) / 1000
    name = len(f"{many}/000000.tar:000000.png")
    assert per_image < (name + 40) * 9 / 8 + 20, per_image


images = st.builds(
    StoredImage,
    path=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    container=st.none() | st.sampled_from(["a.tar", "b.tar"]),
    offset=st.integers(0, 2**62),
    length=st.integers(0, 2**62),
    page=st.none() | st.integers(0, 2**31 - 1),
)


@given(st.lists(images), st.data())
def test_packed_locations_are_those_that_were_added(given: list[StoredImage], data: st.DataObject) -> None:
    packed = StoredImages(given)
    assert list(packed) == given and len(packed) == len(given)
    assert list(packed[1:]) == given[1:] and list(packed[::-2]) == given[::-2]
    if given:
        places = data.draw(st.lists(st.integers(-len(given), len(given) - 1)))
        assert list(packed.taken(places)) == [given[i] for i in places]
    with pytest.raises(IndexError):
        packed[len(given)]
