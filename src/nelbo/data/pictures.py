"""Images one by one, each at its own size: for what does not need them to agree."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data.datasets import Reject
from nelbo.data.decoding import Unreadable, decode, to_tensor
from nelbo.data.sources import Loaded, open_source


@dataclass(frozen=True)
class Picture:
    """An image (C, H, W) uint8, grey (C = 1) where every pixel is.

    Attributes:
        name: what it is called.
        pixels: after the policy of `decoding`.
        lost: what its file says and the pixels don't; "" where nothing is.
        path: of its file; None for one of a set.
    """

    name: str
    pixels: Tensor
    lost: str = ""
    path: str | None = None


def read_pictures(spec: str, num: int | None = None) -> Iterator[Picture | Reject]:
    """The images that `spec` names (a file, a folder, shards, an array, a set), in order, and what cannot be read.

    Args:
        num: only so many, evenly spread.

    Raises:
        DataError: nothing of that name.
    """
    source = open_source(spec, seed=0)
    if isinstance(source, Loaded):
        dataset = source.test or source.train
        some = dataset if num is None or num >= len(dataset) else dataset.spread(num)
        for i in range(len(some)):
            yield Picture(f"{i:05d}", some.images([i])[0])
        return
    files = list(source.listing.images)
    if num is not None and num < len(files):
        files = [files[i] for i in torch.linspace(0, len(files) - 1, num).long().tolist()]
    for stored in files:
        try:
            found = decode(stored)
        except Unreadable as error:
            yield Reject(stored.path, str(error))
            continue
        pixels = to_tensor(found.pixels, "L" if found.pixels.shape[2] == 1 else "RGB")
        yield Picture(Path(stored.path).name, pixels, found.lost, stored.path)
