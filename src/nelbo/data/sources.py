"""What a person's words name: a built-in set, a file or a folder, and of which kind."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from nelbo.data.arrays import load_arrays
from nelbo.data.bundled import load_digits
from nelbo.data.datasets import ImageDataset, printable
from nelbo.data.decoding import ENDINGS
from nelbo.data.folders import Listing, list_folder
from nelbo.data.idx import FASHION_CLASSES, PARTS, find_fashion_mnist, is_idx_folder, load_idx_part
from nelbo.data.shards import find_shards, list_shards
from nelbo.data.toy_sets import TOYS, toy_images
from nelbo.errors import DataError

TOY_TRAIN, TOY_TEST = 10_000, 2_000
NAMES = ("digits", "fashion-mnist", *(f"toy:{name}" for name in TOYS))


@dataclass(frozen=True)
class Loaded:
    """Images already in memory, and the held-out part that the set brings along, if it does."""

    kind: str
    train: ImageDataset
    test: ImageDataset | None = None


@dataclass(frozen=True)
class Listed:
    """Files of images, not opened yet."""

    kind: str
    listing: Listing


def absolute_spec(spec: str) -> str:
    """`spec` as it means the same in any working folder: a built-in name as it is, a path or pattern made absolute."""
    return spec if spec in NAMES else str(Path(spec).expanduser().resolve())


def open_source(spec: str, seed: int) -> Loaded | Listed:
    """What `spec` names (see `load_data`). `seed` draws the toy points. Raises `DataError` where nothing is."""
    if spec == "digits":
        digits = load_digits()
        return Loaded("digits", digits.train, digits.test)
    if spec == "fashion-mnist":
        return _idx("fashion-mnist", find_fashion_mnist(), spec, FASHION_CLASSES)
    if spec.startswith("toy:") and spec in NAMES:
        points = toy_images(spec.removeprefix("toy:"), TOY_TRAIN + TOY_TEST, torch.Generator().manual_seed(seed))
        order = torch.arange(len(points))
        return Loaded("toy", points.subset(order[:TOY_TRAIN]), points.subset(order[TOY_TRAIN:]))
    path = Path(spec).expanduser()
    if spec and path.is_dir():
        return _folder(path)
    if path.suffix.lower() in (".npy", ".npz") and path.is_file():
        return Loaded("arrays", load_arrays(path))
    if path.suffix.lower() in ENDINGS and path.is_file():
        return Listed("folder", list_folder(path))
    if shards := find_shards(spec):
        if missing := [str(shard) for shard in shards if not shard.is_file()]:
            raise DataError(f"{spec}: {len(missing)} of its {len(shards)} shards are missing, the first {missing[0]}")
        return _shards(shards, spec)
    if path.is_file():
        raise DataError(
            f"{printable(path)} is of no kind known here; expected a folder, an image ({' '.join(ENDINGS)}), .npy, "
            ".npz or .tar"
        )
    raise _nothing(spec)


def _folder(path: Path) -> Loaded | Listed:
    if is_idx_folder(path):
        return _idx("idx", path, path.resolve().name)
    listing = list_folder(path)
    if listing.images or listing.rejects:
        return Listed("folder", listing)
    if shards := find_shards(str(path)):
        return _shards(shards, str(path))
    others = f"; {sum(listing.ignored.values())} other file(s) were passed over" if listing.ignored else ""
    raise DataError(
        f"{printable(path)} holds no images: no file in it or its sub-folders ends in {' '.join(ENDINGS)}, and there "
        "are no IDX "
        f"files and no .tar shards{others}"
    )


def _shards(shards: list[Path], spec: str) -> Listed:
    listing = list_shards(shards)
    if not listing.images and not listing.rejects:
        raise DataError(f"{spec}: no member of its {len(shards)} shard(s) ends in {' '.join(ENDINGS)}")
    return Listed("shards", listing)


def _idx(kind: str, folder: Path, name: str, class_names: tuple[str, ...] = ()) -> Loaded:
    train, test = (load_idx_part(folder, part, name, class_names) for part in PARTS)
    assert train is not None  # the folder was recognised by this file
    if test is not None and test.shape != train.shape:
        raise DataError(f"{folder}: its train images have the shape {train.shape} and its t10k images {test.shape}")
    return Loaded(kind, train, test)


def _nothing(spec: str) -> DataError:
    near = difflib.get_close_matches(re.sub("[ _]", "-", spec.lower()), NAMES, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return DataError(
        f"{spec!r} is neither a built-in data set nor a path that exists; {hint}built in are {', '.join(NAMES)}"
    )
