"""Sampling options become a schedule, constraints, guidance and a sampler."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from nelbo.diffusion import (
    Constraint,
    DynamicThreshold,
    Guidance,
    NoiseSchedule,
    ReverseProcess,
    evenly_spaced,
    spaced_by,
)
from nelbo.diffusion.spacing import check_num_kept
from nelbo.errors import ConfigurationError, NonFiniteError, option
from nelbo.options import known
from nelbo.probability import data_to_levels
from nelbo.runs.sampling_options import MIDDLE_LOG_SNR, SPACINGS, SamplingOptions
from nelbo.samplers import SAMPLERS, Sampler

RHO = 7.0  # Karras et al. 2022, eq. 5


def pixels_of(x_0: Tensor, levels: int) -> Tensor:
    """Round data x_0 of any shape to uint8 pixels, on the CPU.

    Raises:
        NonFiniteError: x_0 holds NaN or infinity.
    """
    if not bool(x_0.isfinite().all()):
        raise NonFiniteError(
            f"sampling ended in NaN or infinity; lower {option('guidance')}, set {option('precision', 'fp32')}, or "
            f"remove {option('clip', False)}."
        )
    return data_to_levels(x_0, levels).to(torch.uint8).cpu()


def strided(
    schedule: NoiseSchedule, steps: int | None, spacing: str | None, *, keep_first: bool = False
) -> NoiseSchedule:
    """Restrict a schedule to `steps` steps with a spacing of `SPACINGS`; None keeps all steps.

    Args:
        keep_first: keep t = 1, where the pixel network of a decoder was trained, if more than one step is kept.

    Raises:
        ScheduleError: fewer than one step, or more than the schedule has.
        ConfigurationError: an unknown spacing.
    """
    spacing = known(spacing or "even", SPACINGS, "spacing")
    if steps is None:
        return schedule
    check_num_kept(steps, schedule.num_steps)
    match spacing:
        case "even":
            kept = evenly_spaced(steps, schedule.num_steps)
        case "log-snr":
            kept = spaced_by(schedule.log_snr, steps)
        case _:
            kept = spaced_by(schedule.sigma ** (1 / RHO), steps, from_first=True)
    if keep_first and steps > 1:
        kept[0] = 1
    return schedule.strided(kept.tolist())


def constraints_of(options: SamplingOptions) -> tuple[Constraint, ...]:
    """Return the constraints on xhat_0, the threshold first."""
    if options.threshold is None:
        return options.constraints
    maximum = math.inf if options.threshold_max is None else options.threshold_max
    return (DynamicThreshold(options.threshold, maximum), *options.constraints)


def middle_of(schedule: NoiseSchedule) -> tuple[float, float]:
    """Return where |log SNR| is at most 2.5, as two fractions of T; the whole chain if it has no such step."""
    middle = (schedule.log_snr.abs() <= MIDDLE_LOG_SNR).nonzero().flatten().tolist()
    if not middle:
        return 0.0, 1.0
    return (middle[0] - 0.5) / schedule.num_steps, min((middle[-1] + 0.5) / schedule.num_steps, 1.0)


def guidance_of(options: SamplingOptions, schedule: NoiseSchedule) -> Guidance | None:
    """Return the guidance with its interval in the network's own time, or None."""
    if options.guidance is None:
        return None
    first, last = options.guidance_interval or (0.0, 1.0)
    whole = float(schedule.timesteps[-1])
    return Guidance(options.guidance, first * whole, last * whole)


def build_sampler(reverse: ReverseProcess, options: SamplingOptions) -> Sampler:
    """Build the sampler that the options name.

    Raises:
        ConfigurationError: an unknown sampler, or an option that this sampler does not support.
    """
    name, kind = options.sampler, SAMPLERS[options.sampler]
    if options.variance is not None and not kind.uses_variance:
        users = [other for other, its in SAMPLERS.items() if its.uses_variance]
        raise ConfigurationError(
            f"{option('variance')} applies to Algorithm 2 only, and {name!r} does not use it; remove it or set "
            f"{_samplers(users)}."
        )
    own: dict[str, Any] = {key: getattr(options, key) for key in ("eta", "churn")}
    own = {key: value for key, value in own.items() if value is not None}
    for key in own:
        if key not in kind.own_options():
            users = [other for other, its in SAMPLERS.items() if key in its.own_options()]
            raise ConfigurationError(f"{name!r} does not support {option(key)}; remove it or set {_samplers(users)}.")
    return kind(reverse, **own)


def _samplers(names: Iterable[str]) -> str:
    return " or ".join(option("sampler", name) for name in names)
