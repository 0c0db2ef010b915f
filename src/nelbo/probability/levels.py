"""The grid that images live on: K integer levels, level k at 2k/(K-1) - 1 (Ho et al., section 3.3)."""

import torch
from torch import Tensor


def levels_to_data(images: Tensor, levels: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Integer levels 0..K-1 of any shape -> data x_0 in [-1, 1], level k at 2k/(K-1) - 1."""
    return images.to(dtype) * (2 / (levels - 1)) - 1


def data_to_levels(x_0: Tensor, levels: int) -> Tensor:
    """Data of any shape -> the nearest level, as int64 in 0..K-1. Values outside [-1, 1] go to the edge levels."""
    return ((x_0 + 1) * ((levels - 1) / 2)).round().clamp(0, levels - 1).long()
