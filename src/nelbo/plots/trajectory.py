"""Algorithm 2 as a strip of pictures: noise turning into an image, and the image the network expects all along."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.style import INK, new_figure


class Step(Protocol):
    """An item of a trajectory: the step t, x_t, and the estimate of x_0 at t, both (B, C, H, W) in [-1, 1]."""

    @property
    def t(self) -> int: ...
    @property
    def x_t(self) -> Tensor: ...
    @property
    def x_0(self) -> Tensor: ...


def trajectory_strip(steps: Iterable[Step], columns: int = 10, images: int = 1) -> Figure:
    """Draw a trajectory from left to right: for each of the first `images` of the batch, x_t above and x_0 below.

    Of all steps, `columns` are shown, evenly spaced in order with the first and the last among them. Values outside
    [-1, 1] are shown as the nearest edge. Raises ShapeError when there is no step, or x_t is no batch of images.
    """
    kept = [(step.t, step.x_t[:images].cpu(), step.x_0[:images].cpu()) for step in steps]
    if not kept or any(x_t.ndim != 4 or x_t.shape[1] not in (1, 3) or len(x_t) == 0 for _, x_t, _ in kept):
        shapes = tuple(kept[0][1].shape) if kept else "no step at all"
        raise ShapeError(f"a strip cannot be drawn of {shapes}: give steps of images (B, C, H, W) with C = 1 or 3.")
    shown = [kept[i] for i in _evenly(len(kept), columns)]
    images = len(shown[0][1])
    height, width = shown[0][1].shape[-2:]
    figure = new_figure(0.9 * len(shown) + 0.5, 0.9 * 2 * images * height / width + 0.3)
    grid = figure.subplots(2 * images, len(shown), squeeze=False)
    for column, (t, x_t, x_0) in enumerate(shown):
        for image in range(images):
            show_image(grid[2 * image, column], x_t[image])
            show_image(grid[2 * image + 1, column], x_0[image])
        grid[0, column].set_title(f"t = {t}" if column == 0 else f"{t}", fontsize=8, color=INK)
    for image in range(images):
        for row, name in ((2 * image, "$x_t$"), (2 * image + 1, r"$\hat{x}_0$")):
            grid[row, 0].set_ylabel(name, fontsize=10, rotation=0, ha="right", va="center", color=INK)
    return figure


def _evenly(count: int, wanted: int) -> Sequence[int]:
    return sorted({round(i) for i in np.linspace(0, count - 1, num=max(1, min(count, wanted)))})


def show_image(axes: Axes, image: Tensor) -> None:
    """One image (C, H, W) in [-1, 1], without ticks."""
    pixels = ((image.float().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).numpy()
    if pixels.shape[-1] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(pixels, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
