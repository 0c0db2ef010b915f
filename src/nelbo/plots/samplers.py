"""The same seeds by several samplers, with few and with many network calls."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.table import picture_table


def samplers_table(images: Mapping[str, Tensor], calls: Sequence[int]) -> Figure:
    """Draw a row for each seed and a column for each number of calls, the samplers below one another.

    Args:
        images: by sampler, (N, len(calls), C, H, W) in [-1, 1].
        calls: number of network calls, for each column.

    Raises:
        ShapeError: no image.
    """
    rows, left = [], []
    for name, its in images.items():
        rows += [list(seed) for seed in its]
        left += [name, *[""] * (len(its) - 1)]
    return picture_table(
        rows, left=left, captions=[[f"{number} calls" if number > 1 else "1 call" for number in calls]]
    )
