"""The policy by which an image file becomes pixels. Every source of files (folders, shards) follows it.

*Formats.* PNG, JPEG, WebP, BMP and TIFF, recognized by content, so a JPEG named `.png` is read. Each page of a TIFF
file is an image; of an animation (PNG, WebP), the first frame is read. A TIFF layout that Pillow is not known to read
rightly (`tiff.Layout`), any other file, a truncated or empty one, and one of more than `MAX_PIXELS` pixels become
rejects with a reason.

*Metadata.* The EXIF orientation is applied first; reported sizes are those after it. Colour profiles and all other side
data are ignored, and damage in them is no reason to reject a file.

*Depth.* 1 bit becomes 0 and 255. More than 8 bits become 8 by a range: low becomes 0, high 255, and values outside are
clipped. Without a range, it is that of the depth of the file: 16 bits v become round(v * 255 / 65535), packed 12 bits
round(v * 255 / 4095); of 16 bits with colour or alpha, Pillow keeps the upper 8. Signed, 32-bit and floating-point
pixels have no defined scale: without a range, such a file is a reject. `load_data` finds the range of a whole set.

*Alpha* in any form (RGBA, LA, a transparent palette entry or colour) is composited on white.

*Colour.* A palette index becomes its colour. An image has colour if red, green and blue differ in some pixel, whatever
the mode of the file. The set is RGB if any image has colour and L (grey) otherwise, unless `mode` sets it. RGB -> L is
Rec. 601 luma (0.299, 0.587, 0.114), exact for grey pixels; L -> RGB repeats the value.

*Size.* Without `size`, all images must have the same size. With it, the largest centred box of the given shape is cut
out and resized with an antialiased Lanczos filter: the shorter side is fitted, the longer one cropped. A larger image
is first reduced by a whole factor, a JPEG while it is decoded, to sides of at least `resizing.GAP` times `size`.
Smaller images are enlarged; an image that already has the size is unchanged. Training refuses a side above 256 without
`size`.

*Memory.* Images that are decoded at the same time in the threads of a process take at most about 1 GB together.

The command line prints a summary of this policy, `nelbo.cli.data.POLICY`.
"""

import io
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nelbo.data.flattening import Decoded, from_pillow
from nelbo.data.metadata import without_metadata
from nelbo.data.names import CHANNELS, MODE_OF, Mode, Range, Size
from nelbo.data.resizing import fitted, reduction
from nelbo.data.stored import FORMATS, SIGNATURE_BYTES, StoredImage, Unreadable, format_of
from nelbo.data.tiff import refuse_stack, unopened
from nelbo.errors import DataError
from nelbo.files import IS_POINTER, POINTER

NO_PICTURE = "it is not a PNG, JPEG, WebP, BMP or TIFF image"
MAX_PIXELS = 178_956_970  # Pillow's own limit for an error, twice its limit for a warning
START_BYTES = max(SIGNATURE_BYTES, len(POINTER))  # that tell what a file is


def usable_processors() -> int:
    """Return how many processors this process may use: those of its CPU affinity, if the system has one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decode(stored: StoredImage, size: Size | None = None, limits: Range | None = None) -> Decoded:
    """Decode a file to its end.

    Args:
        size: (H, W) to resize and crop to, or None.
        limits: the values that become black and white in an image of more than 8 bits; None for those of its depth.

    Raises:
        Unreadable: the file is missing, damaged or of another format.
    """
    try:
        with stored.open() as file:
            kind = format_of(start := file.read(START_BYTES))
            if kind is None:
                raise Unreadable(_no_picture(start))
            return _decode(_Source(file, kind, stored.page), size, limits)
    except Unreadable:
        raise
    except Image.DecompressionBombError:
        raise Unreadable(f"it declares more than {MAX_PIXELS:,} pixels (a decompression bomb?)") from None
    except OSError as error:
        raise Unreadable(error.strerror or str(error) or "it cannot be read") from error
    except Exception as error:  # damage makes the decoders raise almost any error: struct.error, ValueError, ...
        raise Unreadable(f"damaged ({type(error).__name__}: {error})") from error


def _no_picture(start: bytes) -> str:
    """Return why a file that begins with `start` is no picture."""
    if start == POINTER:
        return f"it {IS_POINTER}"
    return NO_PICTURE if start else "the file is empty"


def is_picture(path: Path) -> bool:
    """Return whether a file begins like a picture of one of the formats, whatever its name."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except (OSError, ValueError, Image.DecompressionBombError):
        return False


def pixels_of(stored: StoredImage, size: Size | None, mode: Mode, limits: Range | None = None) -> Tensor:
    """Decode one image of a scanned set, uint8 (C, H, W).

    Raises:
        DataError: the file is no longer readable.
    """
    try:
        return to_tensor(decode(stored, size, limits).pixels, mode)
    except Unreadable as error:
        raise DataError(f"{stored.name} was readable when the set was scanned, but no longer is: {error}.") from error


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
    return torch.stack([to_tensor(_resized(_as_picture(image), size, nearest), mode) for image in images])


@dataclass(frozen=True)
class _Source:
    """An open file, its format, and the page to read.

    Attributes:
        exif: EXIF data that was taken out of the file.
    """

    file: BinaryIO
    kind: str
    page: int | None
    exif: bytes = b""

    def open(self) -> Image.Image:
        """Open the page as a Pillow image, without decoding it."""
        self.file.seek(0)
        try:
            image = Image.open(self.file, formats=FORMATS)
            if self.page is not None:
                image.seek(self.page)
        except (UnidentifiedImageError, SyntaxError):  # a SyntaxError comes from a page other than the first
            raise Unreadable(f"a damaged or unsupported {self.kind} image ({self._cause()})") from None
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        return image

    def _cause(self) -> str:
        """Return why Pillow does not open the file, which `Image.open` does not tell."""
        self.file.seek(0)
        try:
            image = Image.OPEN[self.kind][0](self.file, "")
            image.seek(self.page or 0)
        except Exception as error:
            cause = str(error) or type(error).__name__
            if isinstance(error.__cause__ or error, struct.error):  # its text speaks of buffers
                cause = "a part of it is cut short"
        else:
            cause = "no decoder takes it"
        return f"{unopened(self.file, self.page or 0)}: {cause}" if self.kind == "TIFF" else cause


def _decode(source: _Source, size: Size | None, limits: Range | None) -> Decoded:
    """Decode a file; if that fails, decode it without its metadata, in which the fault may be."""
    try:
        return _decoded(source, size, limits)
    except Image.DecompressionBombError:
        raise
    except Exception:
        source.file.seek(0)
        bare = without_metadata(source.file.read(), source.kind)
        if bare is None:
            raise
        found = _decoded(_Source(io.BytesIO(bare.content), source.kind, None, bare.exif), size, limits)
        return replace(found, metadata="its damaged metadata is left out")


def _decoded(source: _Source, size: Size | None, limits: Range | None) -> Decoded:
    with source.open() as image:
        if source.page is None:
            refuse_stack(image, source.file)
        return from_pillow(image, size, limits, exif=source.exif, again=source.open)


def _as_picture(image: Tensor) -> Image.Image:
    array = image.numpy()
    return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))


def _resized(picture: Image.Image, size: Size | None, nearest: bool) -> NDArray[np.uint8]:
    """Return the pixels H x W x C of an array at `size`, by the same steps as those of a file."""
    whole = (picture.height, picture.width)
    if size is not None and size != whole:
        reduced = 1 if nearest else reduction(whole, size)
        picture = fitted(picture.reduce(reduced), size, whole, reduced, nearest=nearest)
    pixels: NDArray[np.uint8] = np.array(picture, dtype=np.uint8)
    return pixels.reshape(picture.height, picture.width, -1)
