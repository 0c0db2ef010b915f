"""Entering the chain in the middle: an image with enough noise is an x_t, and the walk starts from it."""

from dataclasses import replace

from nelbo.diffusion import evenly_spaced
from nelbo.errors import ScheduleError, option
from nelbo.samplers import Sampler


def entering(sampler: Sampler, t: int, steps: int | None = None) -> tuple[Sampler, int]:
    """Return the sampler over a stride that includes t, and the number of t in this stride: where the walk starts.

    Args:
        sampler: a sampler over the whole schedule.
        t: 1..T.
        steps: number of steps from t down to 0, evenly spaced; all t steps if None or if `steps` is above t.

    Raises:
        ScheduleError: t outside 1..T, or fewer than one step.
    """
    schedule = sampler.reverse.schedule
    total = schedule.num_steps
    if not 1 <= t <= total:
        raise ScheduleError(f"a walk can start at t = 1..{total}, got t = {t}.")
    if steps is not None and steps < 1:
        raise ScheduleError(f"{option('steps')} must be at least 1, got {steps}.")
    kept = evenly_spaced(t if steps is None else min(steps, t), t).tolist()
    stride = schedule.strided(kept if t == total else [*kept, total])
    return replace(sampler, reverse=replace(sampler.reverse, schedule=stride)), len(kept)
