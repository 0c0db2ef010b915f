"""IDX, the format of MNIST and similar sets: a magic number, big-endian sizes, then bytes; plain or gzipped."""

import gzip
import math
import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo.data.datasets import ArrayDataset
from nelbo.data.names import ARRAY_ENDINGS, IMAGE_ENDINGS, SHARD_ENDING, path_of
from nelbo.display import counted
from nelbo.errors import DataError
from nelbo.files import refuse_pointer

FASHION_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
TYPES = {  # of the numbers in a file, by the third byte
    0x08: "bytes",
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
MOST_AXES = 8  # of a file that is taken for an IDX file
EXPECTED = "nelbo reads IDX images of 3 axes of bytes, N x H x W; save other arrays as .npy"
TRAIN, TEST = PARTS = ("train", "test")
MOST_OPENED = 100  # files of a folder that are opened to see whether they are IDX files


@dataclass(frozen=True)
class IdxFiles:
    """The files of one part of a set; the labels are optional."""

    images: Path
    labels: Path | None


def read_idx(path: Path) -> Tensor:
    """Read the uint8 array in an IDX file, with the number of axes that it declares.

    Raises:
        DataError: the magic number or the length is wrong; the message gives the bytes found and expected.
    """
    refuse_pointer(path, DataError)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); download or copy it again.") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08" or content[3] == 0:
        kind = f" ({kind})" if (kind := _kind(content[:4])) else ""
        raise DataError(
            f"{path} is not an IDX file of bytes: it begins with {content[:4].hex(' ') or 'nothing'}{kind}; expected "
            "00 00 08 and the number of axes (03 for images, 01 for labels)."
        )
    axes, header = content[3], 4 + 4 * content[3]
    if len(content) < header:
        raise DataError(
            f"{path} is cut short: {len(content)} bytes found, but its header alone has {header}; download or copy it "
            "again."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", axes, 4))
    if len(content) != (expected := header + math.prod(shape)):
        raise DataError(
            f"{path} has {len(content)} bytes; its header declares {' x '.join(map(str, shape))}, so {expected} bytes "
            "were expected; download or copy it again."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy())


def find_idx(place: Path) -> dict[str, IdxFiles]:
    """Find the parts "train" and "test" of an IDX set; {} if there is none.

    `place` is the images file of a part, a folder with the files, or a folder above `raw` or `NAME/raw`. Files are
    recognised by their first bytes, and by `idx` in their names if those are damaged. A name with `t10k` or `test` is
    the test part, any other one the training part. Of a file both plain and gzipped, the plain one is taken. A test
    part alone is returned as the training part.

    Raises:
        DataError: the folder holds several sets.
    """
    chosen = _named(place) if os.path.isfile(place) and _may_be_idx(place.name) else None
    if not os.path.isdir(place) and (chosen is None or chosen.axes != 3):
        return {}
    folders = [place.parent] if chosen else [place, place / "raw", *sorted(place.glob("*/raw"))]
    for folder in folders:
        named = [found for path in _candidates(folder) if (found := _named(path))]
        images = {(each.prefix, each.part): each for each in named if each.axes == 3}
        labels = {(each.prefix, each.part): each.path for each in named if each.axes == 1}
        if not images:
            continue
        prefixes = {prefix for prefix, _ in images} if chosen is None else {chosen.prefix}
        if len(prefixes) > 1:
            first = next(iter(images.values())).path
            raise DataError(f"{folder} holds {len(prefixes)} IDX sets; name the images file of one, such as {first}.")
        (prefix,) = prefixes
        parts = [
            part for part in PARTS if (prefix, part) in images and (chosen is None or chosen.part in (part, TRAIN))
        ]
        files = [IdxFiles(images[prefix, part].path, labels.get((prefix, part))) for part in parts]
        return dict(zip(PARTS, files, strict=False))
    return {}


@dataclass(frozen=True)
class _Named:
    """What the name and the first bytes of an IDX file say."""

    path: Path
    axes: int
    part: str
    prefix: str


def _candidates(folder: Path) -> list[Path]:
    """Return the files of a folder that can be IDX files, gzipped before plain, so that the plain ones count."""
    try:
        names = [name for name in os.listdir(folder) if _may_be_idx(name) and os.path.isfile(folder / name)]
    except OSError:  # there is no such folder, or it cannot be listed
        return []
    return sorted((folder / name for name in names), key=lambda path: (path.suffix != ".gz", path.name))[:MOST_OPENED]


def _may_be_idx(name: str) -> bool:
    return not name.lower().endswith((*IMAGE_ENDINGS, *ARRAY_ENDINGS, SHARD_ENDING))


def _named(path: Path) -> _Named | None:
    """Read what a file is; None if it is no IDX file."""
    name, start = path.name.lower().removesuffix(".gz"), _start(path)
    axes = start[3] if len(start) == 4 and start[:3] == b"\0\0\x08" else 0
    if axes not in (1, 3):
        axes = next((number for number in (1, 3) if f"idx{number}" in name), 0)
    found = re.search("train|t10k|test", name)
    part = TRAIN if found is None or found[0] == TRAIN else TEST
    prefix = name[: found.start()] if found else ""
    return _Named(path, axes, part, prefix) if axes else None


def _start(path: Path) -> bytes:
    """Read the first four bytes of a plain or gzipped file; none if it cannot be read."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            return file.read(4)
    except (OSError, EOFError, zlib.error):
        return b""


def _kind(start: bytes) -> str:
    """Say what an IDX file that begins with these four bytes holds; "" for another file."""
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in TYPES or not 1 <= start[3] <= MOST_AXES:
        return ""
    return f"{counted(start[3], 'axis', 'axes')} of {TYPES[start[2]]}"


def kinds_in(paths: Iterable[Path]) -> dict[Path, str]:
    """Say what each IDX file among the first paths holds, such as "4 axes of bytes"; other files are left out."""
    files = (path for path in paths if _may_be_idx(path.name) and os.path.isfile(path))
    kinds = {path: _kind(_start(path)) for path in islice(files, MOST_OPENED)}
    return {path: kind for path, kind in kinds.items() if kind}


def load_idx_part(files: IdxFiles, name: str, class_names: tuple[str, ...] = ()) -> ArrayDataset:
    """Load one part of an IDX set as images N x 1 x H x W. Labels are optional."""
    images = read_idx(files.images)
    if images.ndim != 3 or 0 in images.shape:
        raise DataError(f"{files.images} holds an array of shape {tuple(images.shape)}; expected images N x H x W.")
    labels = None
    if files.labels is not None:
        labels = read_idx(files.labels).long()
        if labels.shape != (len(images),):
            raise DataError(
                f"{files.labels} has shape {tuple(labels.shape)}; expected {counted(len(images), 'label')}, one per "
                "image."
            )
        class_names = class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
    return ArrayDataset(images[:, None], 256, labels, name, class_names if labels is not None else ())


def find_fashion_mnist() -> Path:
    """Find the folder with the four files of Fashion-MNIST.

    Raises:
        DataError: it is not on this machine; the message says how to get it and which folders were searched.
    """
    roots = [Path(os.environ["NELBO_DATA"])] if os.environ.get("NELBO_DATA") else []
    roots += [Path("data"), path_of("~/.cache/nelbo")]
    places = [place for root in roots for place in (root / "fashion-mnist", root / "FashionMNIST" / "raw")]
    places.append(Path("/usr/share/datasets/fashion-mnist"))
    for place in places:
        if find_idx(place):
            return place
    raise DataError(
        "fashion-mnist is not on this machine; run `apt install dataset-fashion-mnist` (Debian, Ubuntu), or download "
        "the four *-ubyte.gz files from https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion into "
        f"./data/fashion-mnist. Searched: {', '.join(map(str, places))}."
    )
