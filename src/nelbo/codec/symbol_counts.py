"""How often the symbols of a channel occur while training images are sent."""

import torch
from torch import Tensor

from nelbo.codec.chain import SharedChain
from nelbo.codec.channel_plan import BUCKETS, MIDDLE, SURPRISES
from nelbo.codec.chunks import chunk_bits, chunk_units
from nelbo.codec.expectation import Expectation, folded
from nelbo.codec.sender import send_steps
from nelbo.progress import Progress

EFFORT = 5  # at which a plan is fitted
SEEN = 8  # added to the count of a symbol each time it is sent; every count starts at 1


def flat_counts() -> dict[str, Tensor]:
    """Return counts for a `ChannelPlan` that prefer no symbol."""
    flat = {"index_counts": BUCKETS, "number_counts": SURPRISES}
    return {name: torch.ones(num, dtype=torch.int64) for name, num in flat.items()}


@torch.no_grad()
def symbol_counts(chain: SharedChain, levels: Tensor, seed: int, progress: Progress | None) -> dict[str, Tensor]:
    """Count indices and numbers of chunks while images (N, C, H, W) are sent, for a `ChannelPlan`."""
    bits, plan = chunk_bits(EFFORT), chain.plan
    counts, expected = flat_counts(), [Expectation() for _ in levels]
    sent, _ = send_steps(chain, levels, EFFORT, seed, progress)
    for step, tiles in zip(range(len(plan.expected) - 1, -1, -1), sent, strict=True):
        units = plan.layout.total(step)
        for tile, indices in enumerate(tiles):
            surprise = folded(len(indices) - expected[tile].of(units, chunk_units(EFFORT)))
            counts["number_counts"][min(surprise, SURPRISES - 1)] += SEEN
            expected[tile] = expected[tile].after(len(indices), units)
            for i in indices:
                counts["index_counts"][MIDDLE - bits + i.bit_length()] += SEEN
    return counts
