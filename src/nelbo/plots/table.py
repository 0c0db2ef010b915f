"""Pictures in rows and columns with text at the left and above, as in most figures of the paper."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from nelbo.errors import ShapeError
from nelbo.plots.style import INK, new_figure

TILE = 0.9  # inches
GAP = 0.3  # width of a column without images, in tiles


def picture_table(
    rows: Sequence[Sequence[Tensor | None]],
    left: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
) -> Figure:
    """Draw rows of images (C, H, W) in [-1, 1], all of one shape; None leaves a place empty.

    Values outside [-1, 1] are clipped.

    Args:
        left: names of the rows; may be shorter than the table.
        captions: `captions[i][j]` is drawn above the image in row i and column j; may be shorter than the table.

    Raises:
        ShapeError: no image, or C is neither 1 nor 3.
    """
    images = [image for row in rows for image in row if image is not None]
    if not images or any(image.ndim != 3 or image.shape[0] not in (1, 3) for image in images):
        shape = tuple(images[0].shape) if images else "no image at all"
        raise ShapeError(f"{shape} cannot be drawn as a table of pictures; give images (C, H, W) with C = 1 or 3.")
    height, width = images[0].shape[-2:]
    columns = max(map(len, rows))
    full = [any(row[place] is not None for row in rows if place < len(row)) for place in range(columns)]
    widths = [1.0 if any_image else GAP for any_image in full]
    words = 0.3 + 0.17 * max(len(captions) - 1, 0)
    figure = new_figure(TILE * sum(widths) + 0.4, TILE * len(rows) * height / width + words)
    grid = figure.subplots(len(rows), columns, squeeze=False, width_ratios=widths)
    for axes in grid.flatten():
        bare(axes)
    for line, row in zip(grid, rows, strict=True):
        for axes, image in zip(line, row, strict=False):
            if image is not None:
                show_image(axes, image)
    for line, name in zip(grid, left, strict=False):
        line[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center", color=INK)
    for line, words_above in zip(grid, captions, strict=False):
        for axes, word in zip(line, words_above, strict=False):
            axes.set_title(word, fontsize=8, color=INK)
    return figure


def bare(axes: Axes) -> None:
    """Remove ticks and frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def show_image(axes: Axes, image: Tensor) -> None:
    """Draw one image (C, H, W) in [-1, 1], grey or in colour."""
    pixels = ((image.float().clamp(-1, 1) + 1) / 2).permute(1, 2, 0).cpu().numpy()
    if pixels.shape[-1] == 1:
        axes.imshow(pixels[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(pixels, interpolation="nearest")
