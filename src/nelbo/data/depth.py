"""Pixels of more than 8 bits: the values in their file, and the range of values that becomes the levels 0..255."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nelbo.data.names import Range
from nelbo.data.stored import Unreadable
from nelbo.data.tiff import Layout

GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class Deep:
    """The pixels of an image of more than 8 bits.

    Attributes:
        values: H x W, or H x W x C in colour (RGB, or RGBA with alpha), as they are stored.
        top: the value that is 255 if nothing else is asked for, such as 65535 for 16 bits; None if it is not defined.
        inverted: whether 0 is white.
        transparent: the grey value that is transparent, or None.
    """

    values: NDArray[Any]
    top: int | None = 65535
    inverted: bool = False
    transparent: int | None = None

    @property
    def extremes(self) -> Range:
        """The smallest and the largest value; of several channels, without alpha."""
        colours = self.values[..., :3]
        return colours.min().item(), colours.max().item()

    def levels(self, rows: slice, limits: Range | None) -> NDArray[np.uint8]:
        """Return some rows as 8-bit levels; a transparent value becomes 255, and alpha keeps its upper 8 bits.

        Args:
            limits: the values that become 0 and 255, or None for 0 and `top`.
        """
        values = self.values[rows]
        levels = to_levels(values, limits or (0, self.top or 1))
        levels = 255 - levels if self.inverted else levels
        if self.transparent is not None:
            levels[values == self.transparent] = 255
        if values.shape[2:] == (4,):
            levels[..., 3] = values[..., 3] >> 8
        return levels


def to_levels(values: NDArray[Any], limits: Range) -> NDArray[np.uint8]:
    """Return values as round(255 (x - low) / (high - low)), clipped to 0..255; exact for integers."""
    low, high = limits
    if values.dtype.kind == "f" or int(low) != low or int(high) != high:
        scaled = np.nan_to_num((values.astype(np.float64) - low) * 255 / (high - low))
        return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)
    span = int(high) - int(low)
    above = np.clip(values.astype(np.int64), int(low), int(high)) - int(low)
    return ((above * 510 + span) // (2 * span)).astype(np.uint8)


def deep_grey(picture: Image.Image, layout: Layout | None, known: bool) -> Deep | None:
    """Return the pixels of a loaded grey picture of more than 8 bits; None for any other picture.

    Args:
        layout: how a TIFF file stores it.
        known: whether mode I stands for 16 bits.
    """
    if picture.mode not in (*GREY_16, "I", "F"):
        return None
    top = (1 << layout.bits) - 1 if layout is not None else 65535
    transparent = picture.info.get("transparency")
    return Deep(
        np.asarray(picture),
        top=top if known or picture.mode in GREY_16 else None,
        inverted=layout is not None and layout.inverted,
        transparent=transparent if isinstance(transparent, int) else None,
    )


def stored_colours(image: Image.Image) -> str:
    """Return how an image that is not loaded yet stores 16 bits per colour, such as "RGB;16B"; "" if it does not."""
    found = {word for tile in getattr(image, "tile", ()) for word in _words(tile) if ";16" in word}
    return found.pop() if len(found) == 1 and image.mode not in (*GREY_16, "I") else ""


def deep_colours(upper: Image.Image, lower: Image.Image) -> Deep:
    """Return the 16-bit pixels of a picture from its upper and its lower 8 bits (see `with_lower_bits`)."""
    return Deep(np.asarray(upper).astype(np.uint16) << 8 | np.asarray(lower))


def with_lower_bits(image: Image.Image, stored: str) -> Image.Image:
    """Let an image in colour that is not loaded yet be loaded with the lower 8 of its 16 bits.

    Pillow keeps the first byte of each sample that is stored in the order B, and the second one of the order L.

    Args:
        stored: what `stored_colours` returned for it.

    Raises:
        Unreadable: Pillow does not know the reversed order.
    """
    reversed_order = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
    kind, order = stored[:-1], stored[-1:]
    if kind not in ("RGB;16", "RGBA;16"):
        raise Unreadable(f"its 16 bits (stored as {stored}) cannot be mapped from a range; save it as RGB of 16 bits")
    image.tile = [_with_word(tile, stored, kind + reversed_order[order]) for tile in image.tile]  # type: ignore[attr-defined]
    return image


def _words(tile: Any) -> list[str]:
    """Return the words among the arguments of a decoder; one of them names how pixels are stored."""
    arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    return [word for word in arguments if isinstance(word, str)]


def _with_word(tile: Any, old: str, new: str) -> Any:
    """Return a tile with one word among its arguments replaced."""
    arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
    changed = tuple(new if word == old else word for word in arguments)
    return tile._replace(args=changed if isinstance(tile[3], tuple) else changed[0])
