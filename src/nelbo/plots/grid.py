"""One image or a grid of images, pixel for pixel: plain pictures, because a plotting library would resample them."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from nelbo.display import to_bytes
from nelbo.errors import ShapeError

TILE = 72  # pixels: small images are enlarged by an integer factor to about this side
GAP = 2
GAP_LEVEL = 208
CHANNELS = (1, 3, 4)  # grey, RGB, RGBA
MOST_LEVELS = 1 << 16


def sample_grid(images: Tensor, levels: int = 256, columns: int | None = None) -> Image.Image:
    """Arrange N images row by row, nearly square unless the number of columns is given.

    Each pixel becomes a square of s x s pixels, s = `grid_scale(H, W)` an integer, so nothing is interpolated.

    Channels that are no colours are shown side by side in grey.

    Args:
        images: (N, C, H, W), levels 0..levels-1 of grey (C = 1), RGB, RGBA or other channels; level k is shown as
            255 k / (levels - 1), rounded.

    Raises:
        ShapeError: another shape or dtype, or levels out of range.
    """
    if images.dtype not in (torch.uint8, torch.int32) or images.ndim != 4 or images.numel() == 0:
        raise ShapeError(
            f"a grid of {images.dtype} {tuple(images.shape)} cannot be drawn; "
            "give uint8 or int32 images of shape (N, C, H, W) with N >= 1."
        )
    if not 2 <= levels <= MOST_LEVELS or int(images.max()) >= levels:
        largest = int(images.max())
        raise ShapeError(
            f"levels is {levels}, but the images reach level {largest}; give {max(largest + 1, 2)} to {MOST_LEVELS:,} "
            "levels."
        )
    images = _side_by_side(images)
    if columns is not None and columns < 1:
        raise ShapeError(f"a grid of {columns} columns cannot be drawn; give 1 or more.")
    count, channels, height, width = images.shape
    columns = min(columns or math.ceil(math.sqrt(count)), count)
    rows = math.ceil(count / columns)
    scale = grid_scale(height, width)
    tiles = _to_arrays(images, levels).repeat(scale, axis=1).repeat(scale, axis=2)
    pitch_y, pitch_x = scale * height + GAP, scale * width + GAP
    canvas = np.full((rows * pitch_y + GAP, columns * pitch_x + GAP, channels), GAP_LEVEL, dtype=np.uint8)
    if channels == 4:
        canvas[..., 3] = 255
    for index, tile in enumerate(tiles):
        top, left = GAP + index // columns * pitch_y, GAP + index % columns * pitch_x
        canvas[top : top + scale * height, left : left + scale * width] = tile
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def single_image(image: Tensor, levels: int = 256) -> Image.Image:
    """Return one uint8 image (C, H, W) in its own size; level k becomes 255 k / (levels - 1), rounded."""
    pixels = _to_arrays(_side_by_side(image.unsqueeze(0)), levels)[0]
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def _side_by_side(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) whose channels are no colours as (N, 1, H, C * W)."""
    return images if images.shape[1] in CHANNELS else torch.cat(list(images.split(1, 1)), 3)


def grid_scale(height: int, width: int) -> int:
    """Return the integer factor, 1 or more, by which `sample_grid` enlarges images of this size."""
    return max(1, round(TILE / max(height, width)))


def _to_arrays(images: Tensor, levels: int) -> np.ndarray:
    """Convert levels (N, C, H, W) to bytes (N, H, W, C)."""
    return np.ascontiguousarray(to_bytes(images, levels).permute(0, 2, 3, 1).numpy())
