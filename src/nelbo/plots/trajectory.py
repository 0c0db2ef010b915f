"""Algorithm 2 as a strip of pictures: x_t from noise to image, and the predicted xhat_0 at every step."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.table import picture_table


class Step(Protocol):
    """A step of a trajectory: t, x_t, and the estimate of x_0 at t, both (B, C, H, W) in [-1, 1]."""

    @property
    def t(self) -> int: ...
    @property
    def x_t(self) -> Tensor: ...
    @property
    def x_0(self) -> Tensor: ...


def trajectory_strip(steps: Iterable[Step], columns: int = 10, images: int = 1) -> Figure:
    """Draw a trajectory from left to right: for each of the first `images` of the batch, x_t above and x_0 below.

    `columns` steps are shown, evenly spaced, including the first and the last. Values outside [-1, 1] are clipped.

    Raises:
        ShapeError: no step, or x_t is not a batch of images.
    """
    kept = [(step.t, step.x_t[:images].cpu(), step.x_0[:images].cpu()) for step in steps]
    if not kept or any(x_t.ndim != 4 or x_t.shape[1] not in (1, 3) or len(x_t) == 0 for _, x_t, _ in kept):
        shapes = tuple(kept[0][1].shape) if kept else "no step"
        raise ShapeError(f"a strip of {shapes} cannot be drawn; give steps of images (B, C, H, W) with C = 1 or 3.")
    times, x_t, x_0 = zip(*(kept[i] for i in evenly(len(kept), columns)), strict=True)
    rows = [[batch[image] for batch in which] for image in range(len(x_t[0])) for which in (x_t, x_0)]
    titles = [f"t = {t}" if column == 0 else f"{t}" for column, t in enumerate(times)]
    return picture_table(rows, left=["$x_t$", r"$\hat{x}_0$"] * (len(rows) // 2), captions=[titles])


def evenly(count: int, wanted: int) -> Sequence[int]:
    """Return at most `wanted` of the indices 0..count-1, evenly spaced, including the first and the last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, num=max(1, min(count, wanted)))})
