"""Algorithm 2 as a strip of pictures: noise turning into an image, and the image the network expects all along."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.table import picture_table


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
    times, x_t, x_0 = zip(*(kept[i] for i in evenly(len(kept), columns)), strict=True)
    rows = [[batch[image] for batch in which] for image in range(len(x_t[0])) for which in (x_t, x_0)]
    titles = [f"t = {t}" if column == 0 else f"{t}" for column, t in enumerate(times)]
    return picture_table(rows, left=["$x_t$", r"$\hat{x}_0$"] * (len(rows) // 2), captions=[titles])


def evenly(count: int, wanted: int) -> Sequence[int]:
    """At most `wanted` of the places 0..count-1, evenly spaced, the first and the last among them."""
    return sorted({round(i) for i in np.linspace(0, count - 1, num=max(1, min(count, wanted)))})
