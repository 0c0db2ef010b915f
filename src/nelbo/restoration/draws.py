"""The result of a restoration: several draws, their mean and their spread."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Restoration:
    """Draws of what the damaged image may have been.

    Attributes:
        draws: (N, C, H, W) uint8, integer levels.
        mean: (C, H, W) float64, in levels: the mean of the draws, or the posterior mean where one call computes it.
        spread: (C, H, W) float64, in levels: the standard deviation of the draws at each pixel; 0 for a single draw.
    """

    draws: Tensor
    mean: Tensor
    spread: Tensor

    @classmethod
    def of(cls, draws: Tensor, mean: Tensor | None = None) -> "Restoration":
        """Build the record from N draws. The mean is theirs unless another is given."""
        values = draws.double()
        return cls(draws, values.mean(0) if mean is None else mean, values.std(0, correction=min(1, len(draws) - 1)))
