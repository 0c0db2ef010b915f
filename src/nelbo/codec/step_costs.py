"""Expected size of a chain of steps, and the cheapest chain: equations without state."""

import math

import torch
from torch import Tensor

from nelbo.diffusion import Calibrated, NoiseSchedule

OVERHEAD = 3.6  # bits that the channel adds to a chunk (to the index of a chunk of 12 bits of KL)
STEP_BITS = 2.5  # bits for the number of chunks of a step
CALL_BITS = 1.0  # bits that one more call of the network must save
SPACING = 0.25  # nats of log SNR between the steps of the search


def step_bits(schedule: NoiseSchedule, mse: Tensor, t: int, s: Tensor, num_dims: int) -> Tensor:
    """Return the expected KL of sending x_s given x_t with the calibrated variance, in bits per image.

    Args:
        schedule: the full chain.
        mse: (T + 1,) the network's calibrated mean squared error of xhat_0.
        t: of x_t.
        s: (n,) times below t.
        num_dims: D.
    """
    bits, second = [], torch.tensor([2])
    for step in s.tolist():
        kept = torch.tensor([0, step, t])
        pair = schedule.part(kept)  # a chain of these two steps
        variance = Calibrated(mse)(pair, mse, second, None)
        bits.append(num_dims / 2 * torch.log2(variance / pair.posterior_variance[2]))
    return torch.cat(bits)


def step_costs(kl: Tensor, chunk_bits: int) -> Tensor:
    """Return the cost of steps of some KL (n,), in bits: KL, overhead of at least one chunk, number of chunks, call."""
    return kl + OVERHEAD * (kl / chunk_bits).clamp(min=1) + STEP_BITS + CALL_BITS


def best_steps(
    schedule: NoiseSchedule, mse: Tensor, stop: int, num_dims: int, chunk_bits: int
) -> tuple[list[int], float]:
    """Return the times from `stop` up to T whose steps cost the fewest bits, and these bits.

    The search finds the shortest path through a grid of times that are `SPACING` apart in log SNR.
    """
    log_snr = schedule.log_snr
    wanted = torch.arange(float(log_snr[stop]), float(log_snr[-1]), -SPACING, dtype=torch.float64)
    grid = torch.unique(torch.searchsorted(-log_snr, -wanted).clamp(stop, schedule.num_steps))
    grid = torch.unique(torch.cat([grid, torch.tensor([stop, schedule.num_steps])]))
    cost = torch.full((len(grid),), math.inf, dtype=torch.float64)
    after = torch.zeros(len(grid), dtype=torch.int64)
    cost[0] = 0
    for place in range(1, len(grid)):
        kl = step_bits(schedule, mse, int(grid[place]), grid[:place], num_dims)
        cost[place], after[place] = (cost[:place] + step_costs(kl, chunk_bits)).min(0)
    steps, place = [int(grid[-1])], len(grid) - 1
    while place:
        place = int(after[place])
        steps.append(int(grid[place]))
    return steps[::-1], float(cost[-1])
