"""Ordinary image formats on the same images: bits/dim, headers included, against RMSE."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, features
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.errors import DataError, option
from nelbo.evaluation.decision_options import COMPRESSORS
from nelbo.options import known
from nelbo.progress import Progress

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
    _require_colours(tuple(images.shape))
    points = []
    for quality in qualities:
        found = [encode_image(codec, image, quality) for image in images]
        bits = 8 * sum(each.num_bytes for each in found) / images.numel()
        rmse = math.sqrt(sum(each.rmse**2 for each in found) / len(found))
        points.append(CodecPoint(codec, quality, bits, rmse))
    return points


def lossless_bits(compressor: str, images: ImageDataset, progress: Progress | None = None) -> Tensor:
    """Compress each image on its own: (N,) float64, bits/dim of the file. Levels are stored as they are.

    Args:
        compressor: one of `COMPRESSORS`.
        progress: called with (images done, images in total).

    Raises:
        ConfigurationError: an unknown compressor.
        DataError: the images are neither grey nor RGB, or have more than 256 levels.
    """
    name = COMPRESSORS[known(compressor, COMPRESSORS, "compressor")]
    _require_colours((len(images), *images.shape))
    if images.levels > 256:
        raise DataError(
            f"{images.name} has {images.levels:,} levels; a picture has 256. Leave {option('complexity')} out."
        )
    found = []
    for i in range(len(images)):
        found.append(8 * len(_encoded(_as_picture(images[i]), name, None)) / math.prod(images.shape))
        if progress is not None:
            progress(i + 1, len(images))
    return torch.tensor(found, dtype=torch.float64)


def encode_image(codec: str, image: Tensor, quality: int | None) -> Encoding:
    """Write an image (C, H, W) uint8 of 256 levels, grey or RGB, in a format, and decode it again."""
    picture = _as_picture(image)
    content = _encoded(picture, codec, quality)
    back = np.array(Image.open(io.BytesIO(content)).convert("L" if len(image) == 1 else "RGB"))
    rmse = math.sqrt(float(np.square(back.astype(np.float64) - np.array(picture)).mean()))
    decoded = torch.from_numpy(back)[None] if len(image) == 1 else torch.from_numpy(back).permute(2, 0, 1)
    return Encoding(codec, quality, len(content), decoded, rmse)


def _as_picture(image: Tensor) -> Image.Image:
    """Return levels (C, H, W) as a Pillow image."""
    return Image.fromarray(image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy())


def _require_colours(shape: tuple[int, ...]) -> None:
    """Check that images are grey or RGB."""
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise DataError(f"image formats need grey or RGB images, (N, 1, H, W) or (N, 3, H, W); got {shape}.")


def _encoded(image: Image.Image, codec: str, quality: int | None) -> bytes:
    buffer = io.BytesIO()
    if quality is None:
        image.save(buffer, format=codec, lossless=True, optimize=True)  # the second one is for PNG
    else:  # JPEG with Huffman tables fitted to the image: the header dominates the size of a small file
        image.save(buffer, format=codec, quality=quality, optimize=True)
    return buffer.getvalue()
