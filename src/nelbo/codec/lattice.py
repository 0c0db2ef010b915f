"""Rounding that errors of floating point cannot change: the sender moves the grid until nothing is near an edge."""

import torch
from torch import Tensor

OFFSETS = 256  # places of the grid to try; a power of two


def rounded(values: Tensor, offset: int) -> Tensor:
    """Values (n,) in units of the grid -> int64 (n,): the nearest place of the grid moved by offset / 256."""
    return (values.double() + (0.5 + offset / OFFSETS)).floor().long()


def safe_offset(values: Tensor, margin: float, low: int, high: int) -> int | None:
    """The first offset at which every value keeps a distance from every edge that matters.

    Args:
        values: (n,) in units of the grid.
        margin: the distance, in units of the grid.
        low, high: what is rounded is clamped to these, so that edges beyond them do not matter.

    Returns:
        An offset for `rounded`, or None where there is none.
    """
    if not bool(values.isfinite().all()):
        return None
    for offset in range(OFFSETS):
        up, down = (rounded(values + d, offset).clamp(low, high) for d in (margin, -margin))
        if torch.equal(up, down):
            return offset
    return None
