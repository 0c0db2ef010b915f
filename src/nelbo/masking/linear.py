"""The linear prediction of a pixel from the known ones around: weighted least squares for each step."""

from collections.abc import Callable

import torch
from torch import Tensor

from nelbo.masking.context import LINEAR_BITS, QUARTERS
from nelbo.masking.objective import TRAINED, grid_of, interior, passes_of
from nelbo.masking.order import WINDOW, num_steps, step_of

RIDGE = 1e-4  # of the mean variance, added to all variances
LARGEST = 8 << LINEAR_BITS  # coefficient


def fit_linear(batches: Callable[[int, int], Tensor], channels: int, *, rounds: int = 12, seed: int = 0) -> Tensor:
    """Return the coefficients (steps, 49 C) int64 in units of 2^-12.

    Each pixel counts with 1 / (1 + 4^octave), near the inverse of the variance of what cannot be predicted.

    Args:
        batches: `batches(level, i)` is the i-th batch of crops (B, C, H, W) for a level.
        rounds: batches for each level.
        seed: of the places of the grids.
    """
    size, generator = channels * WINDOW**2, torch.Generator().manual_seed(seed)
    products = torch.zeros(num_steps(channels), size, size + 1, dtype=torch.float64)
    for level in range(TRAINED):
        for i in range(rounds):
            row, column = torch.rand(2, generator=generator).tolist()
            grid = grid_of(batches(level, i), level, row, column)
            for place, channel in passes_of(level, channels):
                context, x = interior(grid, place, channel)
                seen, weight = context.differences.double(), 1 / (1 + 4.0 ** context.octave.double())
                beyond = QUARTERS * x - context.near[:, channel]
                weighted = (seen * weight[:, None]).T
                step = step_of(level, place, channel, channels)
                products[step] += weighted @ torch.cat([seen, beyond.double()[:, None]], 1)
    return torch.stack([_solved(each) for each in products])


def _solved(products: Tensor) -> Tensor:
    """Solve the normal equations of one step; the coefficients of pixels that are never known are 0."""
    matrix, right = products[:, :-1], products[:, -1]
    used = matrix.diagonal() > 0
    found: Tensor = torch.zeros_like(right)
    if used.any():
        own = matrix[used][:, used]
        own = own + RIDGE * own.diagonal().mean() * torch.eye(len(own), dtype=own.dtype)
        found[used] = torch.linalg.solve(own, right[used])
    coefficients: Tensor = (found * 2**LINEAR_BITS).round().long().clamp(-LARGEST, LARGEST)
    return coefficients
