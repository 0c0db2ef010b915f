"""Ordinary image formats on the same images: bits/dim, headers included, against RMSE."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

from nelbo.errors import DataError

QUALITIES = (1, 5, 10, 20, 35, 50, 65, 80, 90, 95)


@dataclass(frozen=True)
class CodecPoint:
    """One format at one quality, averaged over images. A lossless format has quality None and an RMSE of 0."""

    codec: str
    quality: int | None
    bits_per_dim: float
    rmse: float


@dataclass(frozen=True, eq=False)
class Encoding:
    """One image in one format at one quality.

    Attributes:
        codec, quality: see `CodecPoint`.
        num_bytes: of the file.
        image: (C, H, W) uint8, as it is decoded.
        rmse: on the pixel scale 0..255.
    """

    codec: str
    quality: int | None
    num_bytes: int
    image: Tensor
    rmse: float


def available_codecs() -> list[str]:
    """Return the formats that can be written here; JPEG XL needs pillow-jxl-plugin (GPL, so no extra installs it)."""
    try:
        import pillow_jxl  # noqa: F401 (importing it registers the format)
    except ImportError:
        return [name for name in ("JPEG", "WEBP") if features.check({"JPEG": "jpg", "WEBP": "webp"}[name])]
    return ["JPEG", "WEBP", "JXL"]


def codec_curve(codec: str, images: Tensor, qualities: Sequence[int | None] = QUALITIES) -> list[CodecPoint]:
    """Encode each image as a file and measure its size and its error after decoding.

    Args:
        codec: one of `available_codecs`.
        images: uint8 (N, C, H, W) with 256 levels.
        qualities: qualities of the format; None is lossless.

    Returns:
        One point per quality; the RMSE is on the pixel scale 0..255.

    Raises:
        DataError: the images are neither grey nor RGB.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise DataError(
            f"image formats need grey or RGB images, (N, 1, H, W) or (N, 3, H, W); got {tuple(images.shape)}."
        )
    points = []
    for quality in qualities:
        found = [encode_image(codec, image, quality) for image in images]
        bits = 8 * sum(each.num_bytes for each in found) / images.numel()
        rmse = math.sqrt(sum(each.rmse**2 for each in found) / len(found))
        points.append(CodecPoint(codec, quality, bits, rmse))
    return points


def encode_image(codec: str, image: Tensor, quality: int | None) -> Encoding:
    """Write an image (C, H, W) uint8 of 256 levels, grey or RGB, in a format, and decode it again."""
    pixels = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
    content = _encoded(Image.fromarray(pixels), codec, quality)
    back = np.array(Image.open(io.BytesIO(content)).convert("L" if len(image) == 1 else "RGB"))
    rmse = math.sqrt(float(np.square(back.astype(np.float64) - pixels).mean()))
    decoded = torch.from_numpy(back)[None] if len(image) == 1 else torch.from_numpy(back).permute(2, 0, 1)
    return Encoding(codec, quality, len(content), decoded, rmse)


def _encoded(image: Image.Image, codec: str, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, format=codec, lossless=True, optimize=True)  # the second one is for PNG
    else:  # JPEG with Huffman tables fitted to the image: the header dominates the size of a small file
        image.save(buffer, format=codec, quality=quality, optimize=True)
    return buffer.getvalue()
