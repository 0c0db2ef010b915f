"""The result of a restoration: several draws, their mean and their spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from nelbo.display import Displayed, counted, pngs

MOST_SHOWN = 8  # draws in a notebook


@dataclass(frozen=True, eq=False)
class Restoration(Displayed):
    """Draws of what the damaged image may have been.

    Attributes:
        draws: (N, C, H, W) uint8, integer levels.
        mean: (C, H, W) float64, in levels: the mean of the draws, or the posterior mean where one call computes it.
        spread: (C, H, W) float64, in levels: the standard deviation of the draws at each pixel; 0 for a single draw.
        levels: K, the number of levels of a pixel.
        seed: of the draws.
    """

    draws: Tensor
    mean: Tensor
    spread: Tensor
    levels: int = 256
    seed: int | None = None

    @classmethod
    def of(
        cls, draws: Tensor, mean: Tensor | None = None, *, levels: int = 256, seed: int | None = None
    ) -> "Restoration":
        """Build the record from N draws. The mean is theirs unless another is given."""
        values = draws.double()
        spread = values.std(0, correction=min(1, len(draws) - 1))
        return cls(draws, values.mean(0) if mean is None else mean, spread, levels, seed)

    def summary(self) -> Mapping[str, str]:
        """Return what was drawn, and how much the draws differ."""
        shape, num = " x ".join(map(str, self.draws.shape[1:])), counted(len(self.draws), "image")
        return {
            "draws": f"{num}, {shape} (C x H x W), {self.levels} levels, seed {self.seed}",
            "spread": f"standard deviation {float(self.spread.mean()):.2f} levels on average, "
            f"{float(self.spread.max()):.2f} at most",
        }

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the draws, their mean, and their spread, white where it is largest."""
        if self.draws.shape[1] not in (1, 3):
            return {}
        mean = self.mean.round().clamp(0, self.levels - 1)
        spread = self.spread / max(float(self.spread.max()), 1e-9) * (self.levels - 1)
        shown = min(len(self.draws), MOST_SHOWN)
        return {
            f"{shown} of {counted(len(self.draws), 'draw')}": pngs(self.draws[:shown], self.levels),
            "mean": pngs(mean[None], self.levels),
            "spread, white where it is largest": pngs(spread[None], self.levels),
        }
