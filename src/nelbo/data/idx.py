"""IDX, the format of MNIST and similar sets: a magic number, big-endian sizes, then bytes; plain or gzipped."""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nelbo.data.datasets import ArrayDataset
from nelbo.errors import DataError

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
PARTS = ("train", "t10k")


def read_idx(path: Path) -> Tensor:
    """Read the uint8 array in an IDX file, with the number of axes that it declares.

    Raises:
        DataError: the magic number or the length is wrong; the message gives the bytes found and expected.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); download or copy it again.") from error
    if len(content) < 4 or content[:3] != b"\0\0\x08" or content[3] == 0:
        raise DataError(
            f"{path} is not an IDX file of bytes: it begins with {content[:4].hex(' ') or 'nothing'}; expected "
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


def idx_file(folder: Path, part: str, kind: str) -> Path | None:
    """Find the file of a part ("train", "t10k") and kind ("images-idx3", "labels-idx1"), plain before gzipped."""
    plain = folder / f"{part}-{kind}-ubyte"
    return next((path for path in (plain, plain.with_name(plain.name + ".gz")) if path.is_file()), None)


def is_idx_folder(folder: Path) -> bool:
    """Return whether `folder` holds the training images of an IDX set."""
    return folder.is_dir() and idx_file(folder, "train", "images-idx3") is not None


def load_idx_part(folder: Path, part: str, name: str, class_names: tuple[str, ...] = ()) -> ArrayDataset | None:
    """Load one part of an IDX folder as images N x 1 x H x W, or None if it has no such part. Labels are optional."""
    images_path, labels_path = idx_file(folder, part, "images-idx3"), idx_file(folder, part, "labels-idx1")
    if images_path is None:
        return None
    images = read_idx(images_path)
    if images.ndim != 3 or 0 in images.shape:
        raise DataError(f"{images_path} holds an array of shape {tuple(images.shape)}; expected images N x H x W.")
    labels = None
    if labels_path is not None:
        labels = read_idx(labels_path).long()
        if labels.shape != (len(images),):
            raise DataError(
                f"{labels_path} has shape {tuple(labels.shape)}; expected {len(images)} labels, one per image."
            )
        class_names = class_names or tuple(str(label) for label in range(int(labels.max()) + 1))
    return ArrayDataset(images[:, None], 256, labels, name, class_names if labels is not None else ())


def find_fashion_mnist() -> Path:
    """Find the folder with the four files of Fashion-MNIST.

    Raises:
        DataError: it is not on this machine; the message says how to get it and which folders were searched.
    """
    roots = [Path(os.environ["NELBO_DATA"])] if os.environ.get("NELBO_DATA") else []
    roots += [Path("data"), Path.home() / ".cache" / "nelbo"]
    places = [place for root in roots for place in (root / "fashion-mnist", root / "FashionMNIST" / "raw")]
    places.append(Path("/usr/share/datasets/fashion-mnist"))
    for place in places:
        if is_idx_folder(place):
            return place
    raise DataError(
        "fashion-mnist is not on this machine; run `apt install dataset-fashion-mnist` (Debian, Ubuntu), or download "
        "the four *-ubyte.gz files from https://github.com/zalandoresearch/fashion-mnist/tree/master/data/fashion into "
        f"./data/fashion-mnist. Searched: {', '.join(map(str, places))}."
    )
