"""Which steps a stride of the chain keeps: every grid rises strictly and ends at T."""

import torch
from torch import Tensor

from nelbo.errors import ScheduleError


def evenly_spaced(num_steps: int, total: int) -> Tensor:
    """`num_steps` steps of 1..total, evenly spread, the last one `total`: ceil(i * total / num_steps)."""
    i = torch.arange(1, num_steps + 1, dtype=torch.int64)
    return -(-i * total // num_steps)


def spaced_by(values: Tensor, num_steps: int, *, from_first: bool = False) -> Tensor:
    """`num_steps` steps of 1..T, as evenly spread in `values` as whole steps allow, the last one T.

    Args:
        values: (T+1,) any monotone table, say `schedule.log_snr`, or a running total of the rate; entry 0 is not read.
        num_steps: how many steps to keep, 1..T.
        from_first: begin at t = 1; else at the first even share of the way from there.

    Raises:
        ScheduleError: num_steps outside 1..T.
    """
    total = len(values) - 1
    if not 1 <= num_steps <= total:
        raise ScheduleError(f"the number of steps must be within 1..{total}, got {num_steps}; change --steps.")
    table = values[1:].cpu().double()
    if bool(table[-1] < table[0]):
        table = -table
    places = num_steps if from_first else num_steps + 1
    wanted = torch.linspace(float(table[0]), float(table[-1]), places, dtype=torch.float64)[places - num_steps :]
    above = torch.searchsorted(table.contiguous(), wanted).clamp(max=total - 1)
    below = (above - 1).clamp(min=0)
    nearest = torch.where(wanted - table[below] < table[above] - wanted, below, above)
    steps = nearest + 1
    steps[-1] = total
    index = torch.arange(num_steps)
    steps = torch.cummax(steps - index, 0).values + index  # strictly rising
    return torch.minimum(steps, total - num_steps + 1 + index)  # and room for those that follow
