"""Samples beside the training images nearest to them: does the model remember, or make up?"""

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.table import picture_table


def neighbours_table(images: Tensor, neighbours: Tensor, distances: Tensor) -> Figure:
    """A row for each of `images` (N, C, H, W) in [-1, 1]: itself, then its `neighbours` (N, k, C, H, W), nearest first.

    `distances` (N, k) stand above them. Raises ShapeError for what is no image.
    """
    rows = [[image, None, *nearest] for image, nearest in zip(images, neighbours, strict=True)]
    captions = [["", "", *(f"{distance:.1f}" for distance in row)] for row in distances.tolist()]
    captions[0][0] = "sample"
    return picture_table(rows, captions=captions)
