"""Fitting of an integer chain's channel on training images: the expected KL of each dimension, and symbol counts."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from nelbo.codec.channel_plan import ChannelPlan
from nelbo.codec.chunks import KL_UNIT
from nelbo.codec.lattice_chain import LatticeChain
from nelbo.codec.symbol_counts import flat_counts, symbol_counts
from nelbo.lattice import LatticeModel
from nelbo.progress import StageProgress, no_stages
from nelbo.randomness import CODEC, derived_seed

BATCH = 8  # tiles in a call of the network


def fit_channel(model: LatticeModel, levels: Tensor, seed: int = 0, progress: StageProgress = no_stages) -> ChannelPlan:
    """Measure the tables of an integer chain's channel on training images (N, C, H, W) of levels.

    Args:
        progress: called with the stage, and the steps done and in total.
    """
    linear = model.chain.linear
    ones = torch.ones(linear.steps, linear.mean.numel(), dtype=torch.int64)
    flat = ChannelPlan(expected=ones, **flat_counts())
    expected = _expected_kl(LatticeChain(model, flat, BATCH), levels, seed, progress)
    plan = replace(flat, expected=expected)
    counts = symbol_counts(
        LatticeChain(model, plan, BATCH), levels, seed, lambda done, total: progress("counting symbols", done, total)
    )
    return replace(plan, **counts)


@torch.no_grad()
def _expected_kl(chain: LatticeChain, levels: Tensor, seed: int, progress: StageProgress) -> Tensor:
    """Return the mean KL of each dimension at each step, (k, D) int64 in units of 1/256 bit."""
    generator, rows = torch.Generator().manual_seed(derived_seed(seed, CODEC)), []
    for t in range(2, chain.num_steps + 2):
        y = chain.draw(levels, t, generator)
        kl = chain.target(chain.predictions(y, t), y, t, levels).kl().mean(0)
        rows.append((kl / math.log(2) / KL_UNIT).round().long())
        progress("measuring expected KL", t - 1, chain.num_steps)
    return torch.stack(rows)
