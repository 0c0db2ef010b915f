"""Entering the chain in the middle: an image that is noisy enough is an x_t, and the walk begins there."""

from dataclasses import replace

from nelbo.diffusion import evenly_spaced
from nelbo.errors import ScheduleError
from nelbo.samplers import Sampler


def entering(sampler: Sampler, t: int, steps: int | None = None) -> tuple[Sampler, int]:
    """The sampler over a stride that has t among its steps, and t's number in it, from which to walk.

    Args:
        sampler: over the whole schedule.
        t: 1..T.
        steps: how many steps to take from t down, evenly spread; every one if None, or if there are no more than that.

    Raises:
        ScheduleError: t outside 1..T, or no steps.
    """
    schedule = sampler.reverse.schedule
    total = schedule.num_steps
    if not 1 <= t <= total:
        raise ScheduleError(f"the chain can be entered within 1..{total}, not at t = {t}.")
    if steps is not None and steps < 1:
        raise ScheduleError(f"the number of steps must be at least 1, got {steps}; change --steps.")
    kept = evenly_spaced(t if steps is None else min(steps, t), t).tolist()
    stride = schedule.strided(kept if t == total else [*kept, total])
    return replace(sampler, reverse=replace(sampler.reverse, schedule=stride)), len(kept)
