"""How a finished model is sampled, as a person says it: a sampler by name, and what each of them understands."""

from dataclasses import fields
from typing import Any, TypedDict

import torch
from torch import Tensor

from nelbo.diffusion import Constraint, DynamicThreshold, Guidance, NoiseSchedule, ReverseProcess, spaced_by
from nelbo.errors import ConfigurationError, NonFiniteError
from nelbo.options import known
from nelbo.probability import data_to_levels
from nelbo.samplers import SAMPLERS, Sampler

RHO = 7.0  # of Karras et al. 2022, eq. 5
SPACINGS = ("even", "log-snr", "karras")


class How(TypedDict, total=False):
    """What may be said of a walk besides the sampler's name; each has a default.

    Attributes:
        steps: reverse steps, 1..T; all T if absent.
        spacing: which steps are kept: "even" in t, even in "log-snr", or "karras", even in sigma^(1/7) from t = 1 on
            (Karras et al. 2022, eq. 5). "even" if absent.
        variance: of the ancestral sampler: "calibrated" (the default where it was measured), "trained", "fixed-large"
            or "fixed-small".
        clip: hold xhat_0 within [-1, 1]; true if absent.
        threshold: instead, clip each image at this quantile of its own values; see `DynamicThreshold`.
        eta: of ddim, 0..1: how much of the chain's noise is drawn.
        churn: of euler and heun: how much noise is stirred in on the way.
        guidance: how far the label is followed: 1 is the model's own p(x|label); see `Guidance`.
        guidance_interval: the part of the chain, in shares of T, where `guidance` holds.
        constraints: what xhat_0 is held to besides.
        precision: "bf16" runs the network in bfloat16, "fp32" doesn't, "auto" (if absent) chooses by the hardware.
    """

    steps: int | None
    spacing: str | None
    variance: str | None
    clip: bool
    threshold: float | None
    eta: float | None
    churn: float | None
    guidance: float | None
    guidance_interval: tuple[float, float]
    constraints: tuple[Constraint, ...]
    precision: str


def pixels_of(x_0: Tensor, levels: int) -> Tensor:
    """uint8 images, on the processor, of data of any shape.

    Raises:
        NonFiniteError: NaN or infinity is no pixel.
    """
    if not bool(x_0.isfinite().all()):
        raise NonFiniteError(
            "the walk ended in NaN or infinity; take a smaller --guidance, --precision fp32, or leave --no-clip out."
        )
    return data_to_levels(x_0, levels).to(torch.uint8).cpu()


def strided(schedule: NoiseSchedule, steps: int | None, spacing: str | None) -> NoiseSchedule:
    """`steps` steps of a schedule, spread as a spacing has it; all of them if None.

    Raises:
        ScheduleError: more steps than there are, or none.
        ConfigurationError: an unknown spacing.
    """
    spacing = known(spacing or "even", SPACINGS, "spacing")
    if steps is None or spacing == "even":
        return schedule if steps is None else schedule.strided(steps)
    if spacing == "log-snr":
        return schedule.strided(spaced_by(schedule.log_snr, steps).tolist())
    return schedule.strided(spaced_by(schedule.sigma ** (1 / RHO), steps, from_first=True).tolist())


def constraints_of(how: How) -> tuple[Constraint, ...]:
    """What xhat_0 is held to, the threshold first."""
    threshold = how.get("threshold")
    return (() if threshold is None else (DynamicThreshold(threshold),)) + how.get("constraints", ())


def guidance_of(how: How, schedule: NoiseSchedule) -> Guidance | None:
    """The guidance asked for, its interval in the network's own time.

    Raises:
        ConfigurationError: an interval that is not within 0..1, or one without guidance.
    """
    scale, interval = how.get("guidance"), how.get("guidance_interval")
    if scale is None:
        if interval is not None:
            raise ConfigurationError("--guidance-interval says where --guidance holds: give both, or neither.")
        return None
    first, last = interval or (0.0, 1.0)
    if not 0 <= first <= last <= 1:
        raise ConfigurationError(
            f"--guidance-interval is two rising shares of the chain in 0..1, got {first:g} {last:g}."
        )
    whole = float(schedule.timesteps[-1])
    return Guidance(scale, first * whole, last * whole)


def build_sampler(name: str, reverse: ReverseProcess, how: How) -> Sampler:
    """A sampler by name, with what was said of it.

    Raises:
        ConfigurationError: an unknown name, or something said that this sampler has no ear for.
    """
    kind = SAMPLERS[known(name, SAMPLERS, "sampler")]
    own: dict[str, Any] = {option: how.get(option) for option in ("eta", "churn") if how.get(option) is not None}
    for option in own:
        if option not in {field.name for field in fields(kind)}:
            ears = " or ".join(other for other, its in SAMPLERS.items() if option in {f.name for f in fields(its)})
            raise ConfigurationError(f"--{option} means nothing to {name!r}; leave it out, or give --sampler {ears}.")
    return kind(reverse, **own)
