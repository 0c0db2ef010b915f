"""The forward process as a strip: images on their way into noise (eq. 4)."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.style import INK, new_figure
from nelbo.plots.trajectory import show_image


def forward_strip(times: Sequence[int], noisy: Sequence[Tensor]) -> Figure:
    """A row for each image, a column for each t: `noisy` holds x_t (B, C, H, W) for every one of `times`.

    Raises ShapeError where there is nothing to draw, or no images.
    """
    if not noisy or any(x_t.ndim != 4 or x_t.shape[1] not in (1, 3) for x_t in noisy):
        raise ShapeError("a strip needs images (B, C, H, W) with C = 1 or 3 at one t at least.")
    rows, (height, width) = len(noisy[0]), noisy[0].shape[-2:]
    figure = new_figure(0.9 * len(noisy) + 0.3, 0.9 * rows * height / width + 0.3)
    grid = figure.subplots(rows, len(noisy), squeeze=False)
    for column, (t, x_t) in enumerate(zip(times, noisy, strict=True)):
        for row in range(rows):
            show_image(grid[row, column], x_t[row].cpu())
        grid[0, column].set_title(f"t = {t}" if column == 0 else f"{t}", fontsize=8, color=INK)
    return figure
