"""Ordinary image formats on the same images: bits/dim, headers included, against RMSE."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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
        bits, squares = 0, 0.0
        for image in images:
            pixels = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
            content = _encoded(Image.fromarray(pixels), codec, quality)
            back = np.asarray(Image.open(io.BytesIO(content)).convert("L" if len(image) == 1 else "RGB"))
            bits += 8 * len(content)
            squares += float(np.square(back.astype(np.float64) - pixels).mean())
        rmse = math.sqrt(squares / len(images))
        points.append(CodecPoint(codec, quality, bits / images.numel(), rmse))
    return points


def _encoded(image: Image.Image, codec: str, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, format=codec, lossless=True, optimize=True)  # the second one is for PNG
    else:  # JPEG with Huffman tables fitted to the image: the header dominates the size of a small file
        image.save(buffer, format=codec, quality=quality, optimize=True)
    return buffer.getvalue()
