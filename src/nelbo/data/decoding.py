"""The policy by which an image file becomes pixels. Every source of files (folders, shards) follows it.

*Formats.* PNG, JPEG, WebP, BMP and TIFF, recognized by content, so a JPEG named `.png` is read. Of several frames, the
first is read. Any other file, a truncated or empty one, and one of more than `MAX_PIXELS` pixels become rejects with a
reason.

*Orientation.* The EXIF orientation is applied first; reported sizes are those after it. Colour profiles are ignored.

*Depth.* 1 bit becomes 0 and 255. 16-bit grey v becomes 8 bits as round(v * 255 / 65535), without clipping; of 16 bits
with colour or alpha, Pillow keeps the upper 8. 32-bit and floating-point pixels have no defined scale: such a file is a
reject.

*Alpha* in any form (RGBA, LA, a transparent palette entry or colour) is composited on white.

*Colour.* A palette index becomes its colour. An image has colour if red, green and blue differ in some pixel, whatever
the mode of the file. The set is RGB if any image has colour and L (grey) otherwise, unless `mode` sets it. RGB -> L is
Rec. 601 luma (0.299, 0.587, 0.114), exact for grey pixels; L -> RGB repeats the value.

*Size.* Without `size`, all images must have the same size. With it, the largest centred box of the given shape is cut
out and resized with an antialiased Lanczos filter: the shorter side is fitted, the longer one cropped. Smaller images
are enlarged; an image that already has the size is unchanged. Training refuses a side above 256 without `size`.

The command line prints a summary of this policy, `nelbo.cli.data.POLICY`.
"""

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from nelbo.data.datasets import printable
from nelbo.data.losses import in_words, losses_of, metadata_of
from nelbo.data.names import CHANNELS, MODE_OF, Mode, Size
from nelbo.errors import DataError
from nelbo.files import IS_POINTER, POINTER

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
MAX_PIXELS = 178_956_970  # Pillow's own limit for an error, twice its limit for a warning
GREY_16 = ("I;16", "I;16L", "I;16B", "I;16N")


def usable_processors() -> int:
    """Return how many processors this process may use: those of its CPU affinity, if the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Unreadable(Exception):
    """The reason why a file is not a usable image. Becomes a `Reject` or a `DataError` that names the file."""


@dataclass(frozen=True)
class StoredImage:
    """The location of an encoded image: a file, or `length` bytes at `offset` of a container (a tar shard)."""

    path: str
    container: str | None = None
    offset: int = 0
    length: int = 0

    def open(self) -> BinaryIO:
        """Open the encoded bytes as a file."""
        if self.container is None:
            return open(self.path, "rb")
        with open(self.container, "rb") as shard:
            shard.seek(self.offset)
            return io.BytesIO(shard.read(self.length))


@dataclass(frozen=True)
class Decoded:
    """An image after the policy.

    Attributes:
        pixels: uint8 H x W x C, with C = 1 if the image has no colour and 3 otherwise.
        file_mode: the mode of the file, by Pillow's name.
        file_size: (H, W) of the image before any resizing.
        lost: what the pixels lack that the file has, in words; "" if nothing.
        metadata: which other data of the file is left out, in words; "" if there is none.
    """

    pixels: NDArray[np.uint8]
    file_mode: str
    file_size: Size
    lost: str = ""
    metadata: str = ""


def decode(stored: StoredImage, size: Size | None = None) -> Decoded:
    """Decode a file to its end.

    Args:
        size: (H, W) to resize and crop to, or None.

    Raises:
        Unreadable: the file is missing, damaged or of another format.
    """
    try:
        with stored.open() as file:
            if not (start := file.read(len(POINTER))):
                raise Unreadable("the file is empty")
            if start == POINTER:
                raise Unreadable(f"it {IS_POINTER}")
            file.seek(0)
            return _decode(file, size)
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("it is not a PNG, JPEG, WebP, BMP or TIFF image") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"it declares more than {MAX_PIXELS:,} pixels (a decompression bomb?)") from None
    except OSError as error:
        raise Unreadable(error.strerror or str(error) or "it cannot be read") from error
    except Exception as error:  # damage makes the decoders raise almost any error: struct.error, ValueError, ...
        raise Unreadable(f"damaged ({type(error).__name__}: {error})") from error


def is_picture(path: Path) -> bool:
    """Return whether a file begins like a picture of one of the formats, whatever its name."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def pixels_of(stored: StoredImage, size: Size | None, mode: Mode) -> Tensor:
    """Decode one image of a scanned set, uint8 (C, H, W).

    Raises:
        DataError: the file is no longer readable.
    """
    try:
        return to_tensor(decode(stored, size).pixels, mode)
    except Unreadable as error:
        raise DataError(
            f"{printable(stored.path)} was readable when the set was scanned, but no longer is: {error}."
        ) from error


def to_tensor(pixels: NDArray[np.uint8], mode: Mode) -> Tensor:
    """Convert pixels H x W x (1 or 3) to a uint8 tensor (1 or 3) x H x W of `mode`."""
    if mode == "RGB" and pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    elif mode == "L" and pixels.shape[2] == 3:
        pixels = np.array(Image.fromarray(pixels).convert("L"))[:, :, None]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def conform(images: Tensor, size: Size | None, mode: Mode | None, *, nearest: bool = False) -> Tensor:
    """Bring arrays, uint8 (N, C, H, W) of 256 levels, to a size and mode under the same policy; None keeps them.

    Args:
        nearest: resize to the nearest pixel, so that no new values arise, as a mask needs.
    """
    mode = mode or MODE_OF[images.shape[1]]
    if (size is None or size == tuple(images.shape[2:])) and images.shape[1] == CHANNELS[mode]:
        return images
    return torch.stack([to_tensor(_fitted(_as_picture(image), size, nearest), mode) for image in images])


def _decode(file: BinaryIO, size: Size | None) -> Decoded:
    with Image.open(file, formats=FORMATS) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        return from_pillow(opened, size)


def from_pillow(image: Image.Image, size: Size | None = None) -> Decoded:
    """Return the pixels of a Pillow image after the policy.

    Raises:
        Unreadable: its pixels have no defined scale.
    """
    deep = ";16" in str(getattr(image, "tile", ""))
    image.load()
    upright = ImageOps.exif_transpose(image)
    grey_16 = upright.mode in GREY_16 or (upright.mode == "I" and image.format == "PNG")
    picture = _eight_bits(upright) if grey_16 else _on_white(upright)
    pixels = _fitted(picture, size)
    lost = ["its 16 bits became 8"] if grey_16 or deep else []
    lost += losses_of(image)
    if upright.has_transparency_data and _shows_through(upright):
        lost.append("its transparency became white")
    return Decoded(pixels, image.mode, (picture.height, picture.width), in_words(lost), metadata_of(image))


def _shows_through(picture: Image.Image) -> bool:
    """Return whether some pixel of a picture with transparency is not opaque."""
    alpha = picture.convert("RGBA").getchannel("A") if picture.mode not in GREY_16 else None
    return alpha is None or alpha.getextrema() != (255, 255)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Convert 16-bit grey to 8 bits, a transparent value to white."""
    values = np.asarray(picture).astype(np.int64)
    grey = ((values + 128) // 257).astype(np.uint8)  # v * 255 / 65535 = v / 257, rounded
    if isinstance(transparent := picture.info.get("transparency"), int):
        grey[values == transparent] = 255
    return Image.fromarray(grey)


def _on_white(picture: Image.Image) -> Image.Image:
    """Convert any 8-bit mode to L if every pixel is grey, else to RGB, with transparency composited on white."""
    if picture.mode in ("I", "F"):
        raise Unreadable(
            f"its pixels have 32 bits (mode {picture.mode}) and no defined scale; save it with 8 or 16 bits"
        )
    if picture.mode in ("1", "L") and not picture.has_transparency_data:
        return picture.convert("L")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB")
    pixels = np.asarray(picture)
    has_colour = (pixels != pixels[:, :, :1]).any()
    return picture if has_colour else picture.getchannel("R")


def _as_picture(image: Tensor) -> Image.Image:
    array = image.numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def _fitted(picture: Image.Image, size: Size | None, nearest: bool = False) -> NDArray[np.uint8]:
    """Return the pixels H x W x C at `size`. Cropping comes first, so no intermediate image is larger than needed."""
    if size is not None and size != (picture.height, picture.width):
        method = Image.Resampling.NEAREST if nearest else Image.Resampling.LANCZOS
        picture = ImageOps.fit(picture, (size[1], size[0]), method)
    pixels: NDArray[np.uint8] = np.array(picture, dtype=np.uint8)
    return pixels.reshape(picture.height, picture.width, -1)
