"""The grid that images live on: K integer levels, level k at 2k/(K-1) - 1 (Ho et al., section 3.3)."""

import math

import torch
from torch import Tensor

from nelbo.probability.normal import log_interval_mass

WINDOW = 16
INVERSE_SQRT_2PI = 1 / math.sqrt(2 * math.pi)


def levels_to_data(images: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integer levels 0..K-1 of any shape -> data x_0 in [-1, 1], level k at 2k/(K-1) - 1."""
    return images.to(dtype) * (2 / (levels - 1)) - 1


def data_to_levels(x_0: Tensor, levels: int) -> Tensor:
    """Data of any shape -> the nearest level, as int64 in 0..K-1. Values outside [-1, 1] go to the edge levels."""
    return ((x_0 + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).long()


def expected_level(x: Tensor, stddev: Tensor, levels: int) -> Tensor:
    """E[x_0 | x] for x = x_0 + stddev * z, where x_0 is uniform over the K levels and z ~ N(0, I).

    The best denoiser that knows the grid and nothing else. `x` and `stddev` broadcast. Where the noise spans few levels
    the sum over the levels nearby is taken; where it spans many, the grid is as good as the interval that it fills,
    whose posterior is a truncated normal: off by at most 3% of the stddev as far as 3.5 stddevs outside the edges,
    beyond which x hardly ever lies, and by far less inside.
    Up to 17 levels the sum takes them all and is exact.
    """
    scale = (levels - 1) / 2
    place, spread = torch.broadcast_tensors((x + 1) * scale, stddev * scale)

    fine = (spread < WINDOW / 5) | (levels <= WINDOW + 1)
    nearest = place.round().clamp(0, levels - 1)
    offsets = torch.arange(-WINDOW, WINDOW + 1, device=x.device, dtype=x.dtype)
    candidates = nearest.unsqueeze(-1) + offsets
    distance = (place.unsqueeze(-1) - candidates) / torch.where(fine, spread, torch.ones_like(spread)).unsqueeze(-1)
    outside = (candidates < 0) | (candidates > levels - 1)
    weights = torch.softmax((-0.5 * distance**2).masked_fill(outside, -torch.inf), dim=-1)
    nearby = nearest + (weights * offsets).sum(-1)

    lower, upper = (-0.5 - place) / spread, (levels - 0.5 - place) / spread
    mass = log_interval_mass(lower.double(), upper.double())
    tilt = torch.exp(-0.5 * lower.double() ** 2 - mass) - torch.exp(-0.5 * upper.double() ** 2 - mass)
    truncated = place + spread * (tilt * INVERSE_SQRT_2PI).to(x.dtype)
    return torch.where(fine, nearby, truncated) / scale - 1
