"""Which images to use and how to read them; no torch is imported here."""

import os
from dataclasses import dataclass
from typing import Any

from nelbo.data.names import AUTO, check_measured, read_range, read_size
from nelbo.options import Annotated, Doc, as_plain
from nelbo.runs.beside_options import BESIDE


@dataclass(frozen=True)
class DataRequest:
    """Which images to use and how to read them; see `nelbo.data.load_data`."""

    spec: Annotated[
        Any,
        Doc(
            "A built-in name such as digits, or the path of a folder or file of images. In Python also images in "
            "memory: an array, a tensor, a list of images, a data set or a `Split`."
        ),
    ]
    size: Annotated[
        int | tuple[int, int] | None,
        Doc(
            "Resize and centre-crop the images to this side length in pixels, or to WIDTHxHEIGHT, such as 48x64 (in "
            "Python also a tuple of height and width). By default, sizes are unchanged."
        ),
    ] = None
    mode: Annotated[str | None, Doc("Colour mode: L (grey) or RGB. Detected by default.")] = None
    held_out: Annotated[
        float | None,
        Doc(
            "Fraction (below 1) or number of images to hold out; by default 5%, at most 10,000 images. Not allowed for "
            "data with its own held-out part, such as digits and fashion-mnist."
        ),
    ] = None
    on_reject: Annotated[str, Doc("What to do with files that cannot be decoded: skip (the default) or stop.")] = "skip"

    range: Annotated[
        str | tuple[float, float],
        Doc(
            "Pixel values that become black and white in images of more than 8 bits: LOW,HIGH, such as 100,3000; full "
            "for the depth of each file; auto (the default) for the smallest of 8, 10, 12, 14 and 16 bits that holds "
            "all values. Images of 8 bits are unchanged."
        ),
    ] = AUTO
    quantum: Annotated[
        float | None,
        Doc(
            "Keep pixel values as they were measured, in up to 65,536 levels of this size: 1 for integers of 16 bits, "
            "or such as 0.01 for floating-point values. Pages of a TIFF file are channels. By default, images become "
            "8 bits."
        ),
    ] = None

    num_images: Annotated[
        int | None,
        Doc(
            "Number of images of a stream, held-out ones included. By default, what the source states; if it states "
            "nothing, it is read once to count them."
        ),
    ] = None

    mask: Annotated[
        Any,
        Doc(
            "Folder of mask pictures with the names of the images: white where pixels are missing, black elsewhere. "
            "The model then learns from the other pixels. In Python also bool (H, W), (N, H, W) or (N, C, H, W). NaN "
            "in an array is a missing pixel too."
        ),
    ] = None
    table: Annotated[
        Any,
        Doc(
            "CSV file of numbers to condition on: the column image holds the names of the image files, each other "
            "column a number; an empty cell is unknown. In Python also an array (N, V)."
        ),
    ] = None
    condition_images: Annotated[
        Any,
        Doc(
            "Folder of images to condition on, with the names of the images, as large as these or smaller by a whole "
            "factor: segmentations, for example. In Python also N images in memory."
        ),
    ] = None

    @property
    def beside(self) -> dict[str, Any]:
        """What lies beside the images, by name; without those that are None."""
        return {name: value for name in BESIDE if (value := getattr(self, name)) is not None}

    def __post_init__(self) -> None:
        for name in ("spec", *BESIDE):
            if isinstance(value := getattr(self, name), os.PathLike):
                object.__setattr__(self, name, os.fspath(value))
        object.__setattr__(self, "size", read_size(self.size))
        object.__setattr__(self, "held_out", as_plain(self.held_out))
        object.__setattr__(self, "range", read_range(self.range))
        object.__setattr__(self, "quantum", as_plain(self.quantum))
        if self.quantum is not None:
            check_measured(self.quantum, self.size, self.mode)
