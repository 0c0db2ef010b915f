"""The variance sigma_t^2 of p_theta(x_{t-1}|x_t) (eq. 1)."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.errors import ConfigurationError


class Variance(Protocol):
    """A choice of sigma_t^2.

    Examples:
        The geometric mean of the two fixed choices:

        >>> import torch
        >>> from nelbo.diffusion import FixedLarge, FixedSmall, NoiseSchedule, ReverseProcess
        >>> class FixedMiddle:
        ...     name = "fixed-middle"
        ...     learned = False
        ...
        ...     def __call__(self, schedule, x_t, t, output):
        ...         large, small = (kind(schedule, x_t, t, None) for kind in (FixedLarge(), FixedSmall()))
        ...         return (large * small).sqrt()
        >>> reverse = ReverseProcess(lambda x_t, t: 0 * x_t, NoiseSchedule.linear(), variance=FixedMiddle())
        >>> transition = reverse.transition(torch.zeros(2, 1, 4, 4), torch.tensor([1, 1000]))
        >>> transition.variance.shape, round(float(transition.variance[1]), 5)
        (torch.Size([2, 1, 1, 1]), 0.02)
    """

    name: ClassVar[str]
    """The name in recipes and reports."""
    learned: ClassVar[bool]
    """Whether the network outputs a second half, of as many channels, for the variance."""

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """Return sigma_t^2, which broadcasts against x_t (B, ...), at t (B,) within 1..T.

        Args:
            output: (B, ...) the second half of the network's output if `learned`, else None.
        """


def smallest_variance(schedule: NoiseSchedule, t: Tensor, like: Tensor) -> Tensor:
    """Return betatilde_t (eq. 7), and betatilde_2 at t = 1, where betatilde_1 is 0, as the code of Ho et al. does.

    A schedule of a single step has no betatilde_2; beta_1 is used instead.
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
        """Return beta_t."""
        second = schedule.posterior_variance[2:3] if schedule.num_steps > 1 else schedule.betas[1:2]
        return schedule.at(torch.cat([schedule.betas[:1], second, schedule.betas[2:]]), t, x_t)


@dataclass(frozen=True)
class FixedSmall:
    """sigma_t^2 = betatilde_t, optimal for x_0 a single point; betatilde_2 at t = 1."""

    name: ClassVar[str] = "fixed-small"
    learned: ClassVar[bool] = False

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """Return betatilde_t (eq. 7)."""
        return smallest_variance(schedule, t, x_t)


@dataclass(frozen=True)
class LearnedRange:
    """log sigma_t^2 = v log beta_t + (1 - v) log betatilde_t per pixel (Nichol & Dhariwal 2021, eq. 15).

    v = (output + 1) / 2, so an output of 0 gives the geometric mean. At t = 1 the lower end is betatilde_2.
    """

    name: ClassVar[str] = "learned-range"
    learned: ClassVar[bool] = True

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """Return the geometric interpolation between betatilde_t and beta_t.

        Raises:
            ConfigurationError: the network has no second half of outputs.
        """
        if output is None:
            raise ConfigurationError(
                "the variance 'learned-range' needs a network with twice the output channels; build it with "
                "`learned_variance`."
            )
        upper = schedule.at(schedule.betas, t, x_t).log()
        lower = smallest_variance(schedule, t, x_t).log()
        v = (output + 1) / 2
        return (v * upper + (1 - v) * lower).exp()


@dataclass(frozen=True, eq=False)
class Calibrated:
    """sigma_t^2 = betatilde_t + c_t^2 mse_t, the best isotropic variance of every step except the last one.

    c_t is the coefficient of x_0 in eq. 7. The cost of the last step, to t = 0, is a probability mass (eq. 13) and not
    a KL divergence. Its best variance is slightly smaller if mse_t is below a squared grey level; the difference is
    about 0.1 bits/dim at most.

    Attributes:
        mse: (T+1,) E||x_0 - xhat_0(x_t)||^2 / D, indexed by the *network's own* time 0..T of the schedule that it was
            trained on, as `nelbo.evaluation.calibrate` measures it. One table serves every stride of that schedule.
    """

    mse: Tensor
    name: ClassVar[str] = "calibrated"
    learned: ClassVar[bool] = False

    def __call__(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor, output: Tensor | None) -> Tensor:
        """Return betatilde_t + c_t^2 mse_t."""
        missed = self.mse_of(schedule)
        return schedule.at(schedule.posterior_variance + schedule.posterior_x_0**2 * missed, t, x_t)

    def mse_of(self, schedule: NoiseSchedule) -> Tensor:
        """Return mse at t = 0..T of a schedule, which may be a stride, (T+1,) on its device."""
        return self.mse.to(schedule.alphas_bar)[schedule.timesteps]  # MPS has no float64
