"""The variance sigma_t^2 of p_theta(x_{t-1}|x_t)."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.errors import ConfigurationError


class Variance(Protocol):
    """sigma_t^2 as a tensor that broadcasts against x_t (B, ...); t is (B,) within 1..T."""

    name: ClassVar[str]
    learned: ClassVar[bool]

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """The variance; `output` is the network's second half where `learned`, else None."""


def smallest_variance(schedule: NoiseSchedule, t: Tensor, like: Tensor) -> Tensor:
    """betatilde_t, and betatilde_2 at t = 1, where betatilde_1 = 0 (Ho et al.'s own code does the same).

    A schedule of a single step has no betatilde_2 and takes beta_1.
    """
    table = schedule.posterior_variance
    second = schedule.betas[1:2] if schedule.num_steps == 1 else table[2:3]
    return schedule.at(torch.cat([table[:1], second, table[2:]]), t, like)


@dataclass(frozen=True)
class FixedLarge:
    """sigma_t^2 = beta_t, optimal for x_0 ~ N(0, I); betatilde_2 at t = 1."""

    name: ClassVar[str] = "fixed-large"
    learned: ClassVar[bool] = False

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """beta_t."""
        second = schedule.posterior_variance[2:3] if schedule.num_steps > 1 else schedule.betas[1:2]
        return schedule.at(torch.cat([schedule.betas[:1], second, schedule.betas[2:]]), t, x_t)


@dataclass(frozen=True)
class FixedSmall:
    """sigma_t^2 = betatilde_t, optimal for x_0 a single point; betatilde_2 at t = 1."""

    name: ClassVar[str] = "fixed-small"
    learned: ClassVar[bool] = False

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """betatilde_t."""
        return smallest_variance(schedule, t, x_t)


@dataclass(frozen=True)
class LearnedRange:
    """log sigma_t^2 = v log beta_t + (1 - v) log betatilde_t per pixel (Nichol & Dhariwal 2021, eq. 15).

    v = (output + 1) / 2, so that an output of 0 is the middle. At t = 1 the lower end is betatilde_2.
    """

    name: ClassVar[str] = "learned-range"
    learned: ClassVar[bool] = True

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """The geometric interpolation."""
        if output is None:
            raise ConfigurationError("learned-range needs a network with twice the channels out (learned_variance).")
        upper = schedule.at(schedule.betas, t, x_t).log()
        lower = smallest_variance(schedule, t, x_t).log()
        v = (output + 1) / 2
        return (v * upper + (1 - v) * lower).exp()


@dataclass(frozen=True, eq=False)
class Calibrated:
    """sigma_t^2 = betatilde_t + c_t^2 mse_t, the best isotropic variance of any step but the last.

    c_t multiplies x_0 in eq. 7. The last step, to t = 0, is paid for in masses of bins (eq. 13) and not in a KL: its
    best variance is somewhat smaller where mse_t is below a squared grey level, worth at most 0.1 bits/dim.

    Attributes:
        mse: E||x_0 - xhat_0(x_t)||^2 / D by the *network's own* time, entries 0..T of the schedule it was trained on
            (measured by `nelbo.evaluation.calibrate`). So it serves every stride of that schedule.
    """

    mse: Tensor
    name: ClassVar[str] = "calibrated"
    learned: ClassVar[bool] = False

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """betatilde_t plus what the network does not know of x_0."""
        missed = self.mse.to(schedule.timesteps.device)[schedule.timesteps]
        return schedule.at(schedule.posterior_variance + schedule.posterior_x_0**2 * missed, t, x_t)
