"""The forward process as a strip: images at growing noise (eq. 4)."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.table import picture_table


def forward_strip(times: Sequence[int], noisy: Sequence[Tensor]) -> Figure:
    """Draw a row for each image and a column for each t; `noisy` holds x_t (B, C, H, W) for each of `times`.

    Raises:
        ShapeError: no t, or tensors that are not images.
    """
    if not noisy or any(x_t.ndim != 4 or x_t.shape[1] not in (1, 3) for x_t in noisy):
        raise ShapeError("a strip needs images (B, C, H, W) with C = 1 or 3 at one or more t.")
    titles = [f"t = {t}" if column == 0 else f"{t}" for column, t in enumerate(times)]
    return picture_table([list(row) for row in zip(*noisy, strict=True)], captions=[titles])
