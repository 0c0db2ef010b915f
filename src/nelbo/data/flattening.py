"""From a Pillow image of any mode to grey or RGB of 8 bits, upright and at the requested size."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from nelbo.data.depth import GREY_16, Deep, deep_colours, deep_grey, stored_colours, with_lower_bits
from nelbo.data.losses import frames_of, in_words, losses_of, metadata_of
from nelbo.data.memory import MemoryBound
from nelbo.data.metadata import TURNS, orientation_of, remember_file
from nelbo.data.names import Range, Size
from nelbo.data.resizing import draft, fitted, reduction
from nelbo.data.stored import Unreadable
from nelbo.data.tiff import Layout, layout_of, layouts

STRIP = 2**20  # pixels that are converted at once
DECODING = MemoryBound(2**30)
BYTES = {"1": 4, "L": 4, "P": 12, "I;16": 8, "I;16B": 8}  # per pixel at the peak, by mode
MOST_BYTES = 14  # per pixel, for the other modes
PREVIEWED = ("MPO",)  # formats whose further frames are previews of a photograph, not an animation


@dataclass(frozen=True)
class Decoded:
    """An image after the policy.

    Attributes:
        pixels: uint8 H x W x C, with C = 1 if the image has no colour and 3 otherwise.
        file_mode: the mode of the file, by Pillow's name.
        file_size: (H, W) of the image before any resizing.
        lost: what the pixels lack that the file has, in words; "" if nothing.
        metadata: which other data of the file is left out, in words; "" if there is none.
        values: the smallest and the largest value of more than 8 bits in the file; None if it has 8 bits or less.
        bits: the depth that the file states: 16, or 12 for packed samples.
        frames: number of frames of an animation, of which this is the first; 1 for an image, or a frame found by
            `seek`.
    """

    pixels: NDArray[np.uint8]
    file_mode: str
    file_size: Size
    lost: str = ""
    metadata: str = ""
    values: Range | None = None
    bits: int = 8
    frames: int = 1


def pages_in(image: Image.Image) -> list[int]:
    """Return the numbers of the pages that are images in a TIFF file that Pillow has opened; else the current frame."""
    if not isinstance(image, TiffImageFile) or image.n_frames == 1:
        return [image.tell()]
    pages = [page for page, (_, is_image) in enumerate(layouts(cast(BinaryIO, image._fp))) if is_image]
    return pages or [image.tell()]


def from_pillow(
    image: Image.Image,
    size: Size | None = None,
    limits: Range | None = None,
    *,
    exif: bytes = b"",
    again: Callable[[], Image.Image] | None = None,
) -> Decoded:
    """Return the pixels of a Pillow image after the policy.

    Args:
        size: (H, W) to resize and crop to, or None.
        limits: the values that become black and white in an image of more than 8 bits; None for those of its depth.
        exif: EXIF data, if the image was opened without it.
        again: opens the image again.

    Raises:
        Unreadable: it has no pixels, or they have no defined scale.
    """
    layout, stored, (width, height) = layout_of(image), stored_colours(image), image.size
    if not width * height:
        raise Unreadable(f"it has no pixels: {width} x {height}")
    turned = orientation_of(image, exif) if image.format in ("JPEG", "MPO") else 0  # others must be loaded for it
    factor = 1 if size is None else draft(image, size, turned)
    remember_file(image)
    with DECODING.reserve(image.width * image.height * BYTES.get(image.mode, MOST_BYTES)):
        image.load()
        turned = turned or orientation_of(image, exif)
        whole = (width, height) if turned >= 5 else (height, width)
        picture = _turned(image, turned)
        deep = deep_grey(picture, layout, known=image.format == "PNG")
        if stored and limits is not None:
            deep = deep_colours(picture, _turned(_lower(stored, again), turned))
        _require_scale(picture, deep, layout, limits)
        reduced = reduction((picture.height, picture.width), size)
        flat = _flat(picture, deep, limits, reduced)
        values = deep.extremes if deep is not None else _bounds(picture) if stored else None
        lost = _lost(image, picture, deep, stored, limits)
        if size is not None and size != whole:
            flat = fitted(flat, size, whole, factor * reduced)
        pixels = np.array(flat).reshape(flat.height, flat.width, -1)
    bits = 8 if values is None else layout.bits if layout else 32 if deep and deep.top is None else 16
    frames = 1 if image.format in PREVIEWED or image.tell() else frames_of(image)
    return Decoded(pixels, image.mode, whole, lost, metadata_of(image), values, bits, frames)


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image if orientation == 1 else image.transpose(TURNS[orientation])


def _lower(stored: str, again: Callable[[], Image.Image] | None) -> Image.Image:
    """Open an image in colour again, for its lower 8 bits."""
    if again is None:
        raise Unreadable("Pillow gives only the upper 8 of its 16 bits in memory; give the path of its file")
    return with_lower_bits(again(), stored)


def _bounds(picture: Image.Image) -> Range:
    """Return bounds of the 16-bit values of which a picture in colour has the upper 8 bits."""
    colours = np.asarray(picture)[..., :3]
    return int(colours.min()) << 8, (int(colours.max()) << 8) + 255


def _require_scale(picture: Image.Image, deep: Deep | None, layout: Layout | None, limits: Range | None) -> None:
    """Raise `Unreadable` if no 8-bit levels follow from the pixels."""
    if picture.mode == "LAB":
        raise Unreadable("its colours are CIE Lab; save it as RGB")
    if deep is not None and deep.top is None and limits is None:
        kind = layout.kind if layout else "floating-point" if picture.mode == "F" else "integer"
        low, high = deep.extremes
        bits = layout.bits if layout else 32
        raise Unreadable(
            f"its pixels have {bits} bits ({kind}, from {low:.6g} to {high:.6g}) and no defined scale; "
            "give the range of values that becomes black to white, or save it with 8 or 16 bits"
        )


def _lost(image: Image.Image, picture: Image.Image, deep: Deep | None, stored: str, limits: Range | None) -> str:
    """Return what the 8-bit pixels lack that a loaded image has, in words; `picture` is the image upright."""
    lost = list[str]()
    if deep is not None or stored:
        bits = 16 if deep is None or deep.top is None else deep.top.bit_length()
        lost.append(f"its {bits} bits became 8" if limits is None else f"its values {_to(limits)} became 8 bits")
    lost += losses_of(image)
    if picture.has_transparency_data and _shows_through(picture):
        lost.append("its transparency became white")
    return in_words(lost)


def _to(limits: Range) -> str:
    return f"{limits[0]:.12g} to {limits[1]:.12g}"


def _shows_through(picture: Image.Image) -> bool:
    """Return whether some pixel of a picture with transparency is not opaque."""
    if picture.mode in GREY_16:
        return True
    strips = (_rows(picture, rows) for rows in _row_slices(picture))
    return any(strip.convert("RGBA").getchannel("A").getextrema() != (255, 255) for strip in strips)


def _flat(picture: Image.Image, deep: Deep | None, limits: Range | None, reduced: int) -> Image.Image:
    """Return a loaded picture as L if every pixel is grey, else as RGB, reduced by a whole factor.

    It is converted in strips, because intermediate results of a whole picture take several times its memory.
    """
    flat, top, coloured = None, 0, False
    for strip in _strips(picture, deep, limits, reduced):
        coloured = coloured or _has_colour(strip)
        part = strip if reduced == 1 else strip.reduce(reduced)
        if flat is None:
            flat = Image.new(part.mode, (part.width, -(-picture.height // reduced)))
        flat.paste(part, (0, top))
        top += part.height
    assert flat is not None
    return flat if coloured or flat.mode == "L" else flat.getchannel("R")


def _strips(picture: Image.Image, deep: Deep | None, limits: Range | None, reduced: int) -> Iterator[Image.Image]:
    """Yield a picture from top to bottom in strips, L or RGB, of a multiple of `reduced` rows."""
    for rows in _row_slices(picture, reduced):
        strip = _rows(picture, rows) if deep is None else Image.fromarray(deep.levels(rows, limits))
        yield _on_white(strip)


def _row_slices(picture: Image.Image, multiple: int = 1) -> Iterator[slice]:
    """Yield the rows of each strip of a picture, a multiple of `multiple` of them."""
    rows = max(STRIP // picture.width // multiple, 1) * multiple
    for top in range(0, picture.height, rows):
        yield slice(top, min(top + rows, picture.height))


def _rows(picture: Image.Image, rows: slice) -> Image.Image:
    """Return a strip of a picture; the picture itself if it is not larger."""
    whole = rows.stop - rows.start == picture.height
    return picture if whole else picture.crop((0, rows.start, picture.width, rows.stop))


def _on_white(strip: Image.Image) -> Image.Image:
    """Convert any 8-bit mode to L or RGB, with transparency composited on white."""
    if strip.has_transparency_data:
        strip = strip.convert("RGBA")
        strip = Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)
    elif strip.mode in ("1", "L"):
        return strip.convert("L")
    return strip.convert("RGB")


def _has_colour(strip: Image.Image) -> bool:
    if strip.mode == "L":
        return False
    pixels = np.asarray(strip)
    return bool((pixels != pixels[:, :, :1]).any())
