"""Samples beside their nearest training images, to see whether the model memorised them."""

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.table import picture_table


def neighbours_table(images: Tensor, neighbours: Tensor, distances: Tensor) -> Figure:
    """Draw a row for each of `images` (N, C, H, W) in [-1, 1]: the image, then its neighbours, nearest first.

    Args:
        neighbours: (N, k, C, H, W) in [-1, 1].
        distances: (N, k), printed above the neighbours.

    Raises:
        ShapeError: tensors that are not images.
    """
    rows = [[image, None, *nearest] for image, nearest in zip(images, neighbours, strict=True)]
    captions = [["", "", *(f"{distance:.1f}" for distance in row)] for row in distances.tolist()]
    captions[0][0] = "sample"
    return picture_table(rows, captions=captions)
