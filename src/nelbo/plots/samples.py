"""Samples drawn as images, or as points of the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image
from torch import Tensor

from nelbo.plots.grid import sample_grid, single_image
from nelbo.probability import levels_to_data

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def picture_of(samples: Tensor, levels: int) -> Image.Image | Figure:
    """Draw images (N, C, H, W) as a grid, one image in its own size, and "images" of 2 x 1 x 1 as points."""
    if samples.shape[1:] == (2, 1, 1):
        from nelbo.plots.points import point_cloud  # images need no Matplotlib

        return point_cloud(levels_to_data(samples.flatten(1), levels))
    return single_image(samples[0], levels) if len(samples) == 1 else sample_grid(samples, levels)
