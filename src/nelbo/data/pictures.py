"""Images one by one, each at its own size, for work that does not need one size."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.data.datasets import Loaded, Reject
from nelbo.data.decoding import decode, to_tensor
from nelbo.data.flattening import Decoded
from nelbo.data.names import AUTO, MODE_OF, Range, path_of, spec_of
from nelbo.data.sources import open_source
from nelbo.data.stored import Unreadable
from nelbo.display import Displayed, pngs
from nelbo.errors import DataError
from nelbo.options import check_whole


@dataclass(frozen=True)
class Picture(Displayed):
    """One image.

    Attributes:
        name: the name of its file, or its number in the set.
        pixels: uint8 (C, H, W) after the policy of `decoding`, with C = 1 if every pixel is grey.
        lost: what the pixels lack that the file has, in words; "" if nothing.
        metadata: which other data of its file is left out, in words; "" if there is none.
        path: the path of its file, or None for an image of an array or a built-in set.
        values, bits: the values of more than 8 bits in its file and their depth; see `Decoded`.
        frames: number of frames of an animation, of which this is the first; 1 for an image.
        label: the name of its class in an array or a built-in set; "" for a file, whose folder is its class.
    """

    name: str
    pixels: Tensor
    lost: str = ""
    path: str | None = None
    metadata: str = ""
    values: Range | None = None
    bits: int = 8
    frames: int = 1
    label: str = ""

    @classmethod
    def of(cls, name: str, found: Decoded, path: str | None = None) -> "Picture":
        """Return a decoded image as a picture."""
        pixels = to_tensor(found.pixels, MODE_OF[found.pixels.shape[2]])
        return cls(name, pixels, found.lost, path, found.metadata, found.values, found.bits, found.frames)

    def summary(self) -> Mapping[str, str]:
        """Return the name, the size and what is lost."""
        channels, height, width = self.pixels.shape
        lost = {"lost": self.lost} if self.lost else {}
        return {"name": self.name, "pixels": f"{channels} x {height} x {width} (C x H x W)", **lost}

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the image itself."""
        return {self.name: pngs(self.pixels[None], 256)}


def read_picture(spec: str | os.PathLike[str], *, limits: Range | None = None) -> Picture:
    """Read one image file.

    Args:
        limits: see `read_pictures`.

    Raises:
        DataError: the file is missing, cannot be read, or holds several images.
    """
    spec = spec_of(spec)
    if not os.path.exists(path_of(spec)):
        raise DataError(f"there is no file {spec}; expected a picture.")
    found = list(read_pictures(spec, num=2, limits=limits))
    if len(found) != 1:
        raise DataError(f"{spec} holds several images; give a file of one image.")
    if isinstance(found[0], Reject):
        raise DataError(f"{found[0].path} cannot be used: {found[0].reason}.")
    return found[0]


def read_pictures(
    spec: str | os.PathLike[str], num: int | None = None, *, limits: Range | None = None
) -> Iterator[Picture | Reject]:
    """Yield the images that `spec` names (see `load_data`) in order, and a `Reject` for each file that is unreadable.

    Of a folder, these are all images, whatever part of a data set they are in. Of an array or a built-in set with a
    held-out part, they are the held-out ones.

    Args:
        num: the largest number of images, evenly spread over the source; None for all.
        limits: the values that become black and white in an image of more than 8 bits; None for those of its depth.

    Raises:
        DataError: `spec` names nothing.

    Warns:
        DataWarning: pictures of other formats are left out.
    """
    if num is not None:
        check_whole("num", num)
    source = open_source(spec, seed=0, range=limits or AUTO)
    if isinstance(source, Loaded):
        dataset = source.test or source.train
        some = dataset if num is None or num >= len(dataset) else dataset.spread(num)
        for i in range(len(some)):
            named = some.labels is not None and some.class_names and int(some.labels[i]) >= 0
            label = some.class_names[int(some.labels[i])] if named else ""  # type: ignore[index]
            yield Picture(f"{i:05d}", some.images([i])[0], label=label)
        return
    source.listing.warn_of_unread()
    files = [*source.listing.images, *source.listing.unused]
    if num is not None and num < len(files):
        files = [files[i] for i in torch.linspace(0, len(files) - 1, num).long().tolist()]
    else:
        yield from source.listing.rejects
    for stored in files:
        try:
            yield Picture.of(stored.file_name, decode(stored, limits=limits), stored.path)
        except Unreadable as error:
            yield Reject(stored.name, str(error))
