"""A monotone network of one number: the path along which a learned schedule falls."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MonotoneNetwork(nn.Module):
    """A rising function f of the unit interval onto itself, f(0) = 0 and f(1) = 1, in float64.

    f is g scaled to these ends, where g(u) = a u + sum_k w_k sigmoid(s_k (u - c_k)) with positive a, w and s (as in
    Kingma et al. 2021, appendix H). It starts close to f(u) = u, without a random draw.

    Args:
        hidden: the number of sigmoids.
    """

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        even = (torch.arange(hidden, dtype=torch.float64) + 0.5) / hidden
        self.linear = nn.Parameter(torch.full((1,), _inverse_softplus(0.5), dtype=torch.float64))
        self.weights = nn.Parameter(torch.full((hidden,), _inverse_softplus(0.5 / hidden), dtype=torch.float64))
        self.steepness = nn.Parameter(torch.full((hidden,), _inverse_softplus(hidden / 2), dtype=torch.float64))
        self.centres = nn.Parameter(even)

    def forward(self, u: Tensor) -> Tensor:
        """Return f(u) for u (B,) in [0, 1]."""
        low, high = self._rising(u.new_tensor([0.0, 1.0])).unbind()
        return (self._rising(u) - low) / (high - low)

    def slope(self, u: Tensor) -> Tensor:
        """Return f'(u) > 0, (B,)."""
        low, high = self._rising(u.new_tensor([0.0, 1.0])).unbind()
        steepness = F.softplus(self.steepness)
        bends = (steepness * (u[:, None] - self.centres)).sigmoid()
        rises = F.softplus(self.weights) * steepness * bends * (1 - bends)
        return (F.softplus(self.linear) + rises.sum(1)) / (high - low)

    def _rising(self, u: Tensor) -> Tensor:
        """Return g(u), (B,)."""
        bends = (F.softplus(self.steepness) * (u[:, None] - self.centres)).sigmoid()
        return F.softplus(self.linear) * u + (F.softplus(self.weights) * bends).sum(1)


def _inverse_softplus(value: float) -> float:
    return math.log(math.expm1(value))
