"""A damaged image, its restorations, and where they are uncertain."""

from typing import Protocol

import torch
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.style import INK, new_figure
from nelbo.plots.table import TILE, bare, show_image
from nelbo.probability import levels_to_data

DRAWN = 8  # at most this many draws are shown
HOLE = (0.6, -0.05, 0.3)  # colour of a missing pixel, as data: a pink that few images contain


class Draws(Protocol):
    """Draws (N, C, H, W) in levels, their mean (C, H, W), and the standard deviation of each pixel (C, H, W)."""

    @property
    def draws(self) -> Tensor: ...
    @property
    def mean(self) -> Tensor: ...
    @property
    def spread(self) -> Tensor: ...


def restoration_strip(damaged: Tensor, restoration: Draws, levels: int = 256) -> Figure:
    """Draw from left to right the damaged image, up to 8 draws, their mean, and a map of their spread in levels.

    Args:
        damaged: (C, h, w) as data in [-1, 1], of any size; NaN for missing pixels.

    Raises:
        ShapeError: C is neither 1 nor 3.
    """
    channels, height, width = restoration.mean.shape
    if channels not in (1, 3) or damaged.ndim != 3 or damaged.shape[0] not in (1, 3):
        raise ShapeError(f"images of {channels} channels cannot be drawn; give images with 1 or 3.")
    draws = restoration.draws[:DRAWN]
    images = [_with_holes(damaged), *levels_to_data(draws, levels), levels_to_data(restoration.mean, levels)]
    drawn = f"{len(draws)} draws" if len(draws) == len(restoration.draws) else f"of {len(restoration.draws)} draws"
    titles = ["damaged", drawn if len(draws) > 1 else "a draw"]
    titles += [""] * (len(draws) - 1) + ["mean", "spread"]
    figure = new_figure(TILE * (len(images) + 1) + 0.9, TILE * height / width + 0.35)
    line = figure.subplots(1, len(images) + 1, squeeze=False)[0]
    for axes, image in zip(line, images, strict=False):
        show_image(axes, image)
    shown = line[-1].imshow(restoration.spread.mean(0).cpu().numpy(), cmap="viridis", vmin=0, interpolation="nearest")
    for axes, title in zip(line, titles, strict=True):
        bare(axes)
        axes.set_title(title, fontsize=8, color=INK)
    bar = figure.colorbar(shown, ax=line[-1], shrink=0.9)
    bar.set_label("levels", fontsize=7, color=INK)
    bar.ax.tick_params(labelsize=6, colors=INK)
    bar.outline.set_visible(False)
    return figure


def _with_holes(image: Tensor) -> Tensor:
    """Return the image in colour, with NaN pixels in pink."""
    colour = torch.tensor(HOLE).view(3, 1, 1)
    return torch.where(image.isnan(), colour, image.expand(3, -1, -1)) if bool(image.isnan().any()) else image
