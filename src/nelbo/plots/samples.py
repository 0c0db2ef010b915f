"""Samples drawn as images, or as points of the plane."""

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from nelbo.plots.grid import sample_grid
from nelbo.plots.points import point_cloud
from nelbo.probability import levels_to_data


def picture_of(samples: Tensor, levels: int) -> Image.Image | Figure:
    """Draw images (N, C, H, W) as a grid, and "images" of 2 x 1 x 1 as points of the plane."""
    if samples.shape[1:] == (2, 1, 1):
        return point_cloud(levels_to_data(samples.flatten(1), levels))
    return sample_grid(samples, levels)
