"""Images above what a model made of them."""

import torch
from PIL import Image
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.grid import sample_grid

COLUMNS = 8


def reconstruction_grid(originals: Tensor, reconstructions: Tensor, levels: int = 256) -> Image.Image:
    """Rows of 8 originals, the row of their reconstructions under each; both uint8 (N, C, H, W).

    Raises ShapeError where they differ in shape.
    """
    if originals.shape != reconstructions.shape:
        raise ShapeError(f"{tuple(originals.shape)} images have reconstructions of {tuple(reconstructions.shape)}.")
    rows = []
    for start in range(0, len(originals), COLUMNS):
        for images in (originals, reconstructions):
            row = images[start : start + COLUMNS]
            rows += [row, row.new_full((COLUMNS - len(row), *row.shape[1:]), levels - 1)]
    return sample_grid(torch.cat(rows), levels, columns=COLUMNS)
