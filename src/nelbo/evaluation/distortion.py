"""The bound read as progressive coding: rate against distortion, step by step (Ho et al., section 4.3, fig. 5)."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError
from nelbo.evaluation.bound import BoundReport


@dataclass(frozen=True)
class RatePoint:
    """What a receiver has at one moment of Algorithm 4.

    Attributes:
        t: x_t has arrived.
        reverse_steps: T - t, how many steps that took.
        rate: bits/dim spent so far, L_T + L_{T-1} + ... + L_t.
        rmse: of xhat_0(x_t) against x_0, as pixels of 0..255 count.
    """

    t: int
    reverse_steps: int
    rate: float
    rmse: float


@dataclass(frozen=True)
class RateDistortion:
    """The whole curve, from x_T to x_1, and the bits that are left: distortion = L_0. rate + distortion = L."""

    points: list[RatePoint]
    distortion: float

    @property
    def rate(self) -> float:
        """L_T + ... + L_1, bits/dim."""
        return self.points[-1].rate

    @property
    def total(self) -> float:
        """L, bits/dim."""
        return self.rate + self.distortion


def rate_distortion(report: BoundReport) -> RateDistortion:
    """The curve of a bound that was evaluated at every t: the same numbers, added up from T downwards.

    Raises:
        ConfigurationError: some t were not looked at.
    """
    steps = {step.t: step for step in report.per_step}
    if report.steps_per_image != report.num_steps - 1 or len(steps) != report.num_steps:
        raise ConfigurationError(
            f"a rate-distortion curve needs the bound at every t, and {report.steps_per_image} of "
            f"{report.num_steps - 1} were drawn an image; use steps_per_image=None."
        )
    points, rate = [], report.prior
    for t in range(report.num_steps, 0, -1):
        points.append(RatePoint(t, report.num_steps - t, rate, steps[t].rmse))
        rate += steps[t].bits_per_dim
    return RateDistortion(points, steps[1].bits_per_dim)
