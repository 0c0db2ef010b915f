"""Images above their reconstructions."""

import torch
from PIL import Image
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.grid import sample_grid

COLUMNS = 8


def reconstruction_grid(originals: Tensor, reconstructions: Tensor, levels: int = 256) -> Image.Image:
    """Draw rows of 8 originals, each above the row of their reconstructions; both uint8 (N, C, H, W).

    Raises:
        ShapeError: the shapes differ.
    """
    if originals.shape != reconstructions.shape:
        raise ShapeError(
            f"the images are {tuple(originals.shape)}, but their reconstructions {tuple(reconstructions.shape)}; "
            "give two tensors of one shape."
        )
    rows = []
    for start in range(0, len(originals), COLUMNS):
        for images in (originals, reconstructions):
            row = images[start : start + COLUMNS]
            rows += [row, row.new_full((COLUMNS - len(row), *row.shape[1:]), levels - 1)]
    return sample_grid(torch.cat(rows), levels, columns=COLUMNS)
