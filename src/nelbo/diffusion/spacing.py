"""The steps that a stride of the chain keeps. Every selection rises strictly and ends at T."""

from numbers import Real

import torch
from torch import Tensor

from nelbo.errors import ScheduleError, option, shown


def check_num_kept(num_steps: float, total: int) -> None:
    """Check that a stride keeps a whole number of steps within 1..total.

    Raises:
        ScheduleError: it doesn't.
    """
    given: object = num_steps
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not (number and 1 <= num_steps <= total and num_steps == int(num_steps)):
        raise ScheduleError(
            f"the number of steps must be a whole number within 1..{total}, got {shown(num_steps)}; change "
            f"{option('steps')}."
        )


def evenly_spaced(num_steps: int, total: int) -> Tensor:
    """Return `num_steps` evenly spaced steps of 1..total, int64: ceil(i * total / num_steps) for i = 1..num_steps."""
    i = torch.arange(1, num_steps + 1, dtype=torch.int64)
    return -(-i * total // num_steps)


def spaced_by(values: Tensor, num_steps: int, *, from_first: bool = False) -> Tensor:
    """Return `num_steps` steps of 1..T, int64, as evenly spaced in `values` as whole steps allow; the last is T.

    Args:
        values: (T+1,) a monotone table such as `schedule.log_snr` or a cumulative rate; entry 0 is not read.
        num_steps: the number of steps to keep, 1..T.
        from_first: whether the first step is t = 1; if not, it lies one spacing after t = 1.

    Raises:
        ScheduleError: num_steps is outside 1..T.
    """
    total = len(values) - 1
    check_num_kept(num_steps, total)
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
    return torch.minimum(steps, total - num_steps + 1 + index)  # and leaves room for the later steps
