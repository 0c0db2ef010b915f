"""The probability-flow ODE (Song et al. 2021) in the variables of Karras et al. 2022: Euler's and Heun's methods.

With y = x_t / sqrt(abar_t) and sigma = 1 / sqrt(SNR) the ODE is dy / dsigma = eps(x_t, t). x_0 is y at sigma = 0.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import Prediction, heun_slope
from nelbo.errors import ConfigurationError, option
from nelbo.randomness import Generators, standard_normal
from nelbo.samplers.sampler import Sampler, Step

MOST_CHURN = math.sqrt(2) - 1  # largest relative rise of sigma in one step (Karras et al. 2022, algorithm 2)


@dataclass(frozen=True)
class FlowSampler(Sampler):
    """A solver of the ODE. With churn it adds noise before each step.

    Attributes:
        churn: S_churn, 0 or more. Before each of the T steps, sigma is multiplied by 1 + min(churn / T, sqrt(2) - 1)
            and rounded to the nearest step of the whole schedule, and the missing noise is added to x_t.
    """

    churn: float = 0.0

    def __post_init__(self) -> None:
        if not self.churn >= 0:
            raise ConfigurationError(f"{option('churn')} must be 0 or more, got {self.churn}.")

    @property
    def draws_noise(self) -> bool:
        """Whether churn is above 0. (A churn too small to reach a higher step of the schedule still draws nothing.)"""
        return self.churn > 0

    @abstractmethod
    def slope(self, y: Tensor, here: Tensor, sigma: float, step: int, label: ConditionLike | None) -> Tensor:
        """Return the dy / dsigma to use from y at `sigma` down to `step` - 1 (1 or more).

        Args:
            here: dy / dsigma at y itself.
        """

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: ConditionLike | None = None) -> Iterator[Step]:
        """Walk down from x_t; see `Sampler.walk`. With churn, each xhat_0 is predicted after its noise was added."""
        schedule = self.reverse.schedule
        y = x_t / float(schedule.signal[t])
        for step in range(t, 0, -1):
            raised_y, sigma, prediction = self._predicted(y, step, generator, label)
            yield Step(step, y * float(schedule.signal[step]), prediction.x_0)
            if step == 1:
                y = prediction.x_0  # equals y - sigma eps, without its rounding error
            else:
                slope = self.slope(raised_y, prediction.noise, sigma, step, label)
                y = raised_y + (float(schedule.sigma[step - 1]) - sigma) * slope
        yield Step(0, y, y)

    def _predicted(
        self, y: Tensor, step: int, generator: Generators, label: ConditionLike | None
    ) -> tuple[Tensor, float, Prediction]:
        """Return the y from which the step starts (after churn), its sigma, and the network's prediction there."""
        reverse, sigma, at = self.reverse, float(self.reverse.schedule.sigma[step]), step
        raised = self._raised(step)
        if raised is not None:
            reverse, at = replace(reverse, schedule=reverse.schedule.whole or reverse.schedule), raised
            added = reverse.schedule.sigma_lacking(at, sigma) * standard_normal(y.shape, generator, y)
            y, sigma = y + added, float(reverse.schedule.sigma[at])
        return y, sigma, reverse.predict(y * float(reverse.schedule.signal[at]), _times(at, y), label)

    def _raised(self, step: int) -> int | None:
        """Return the step of the whole schedule to which churn raises `step`, or None if the nearest is not higher."""
        schedule = self.reverse.schedule
        sigmas = (schedule.whole or schedule).sigma
        wanted = schedule.sigma[step] * (1 + min(self.churn / schedule.num_steps, MOST_CHURN))
        nearest = int((sigmas[1:] - wanted).abs().argmin()) + 1
        return nearest if bool(sigmas[nearest] > schedule.sigma[step]) else None


@dataclass(frozen=True)
class EulerSampler(FlowSampler):
    """Euler's method: first order, one network call a step. Without churn it is DDIM with eta = 0."""

    def slope(self, y: Tensor, here: Tensor, sigma: float, step: int, label: ConditionLike | None) -> Tensor:
        """Return eps at the start of the step."""
        return here


@dataclass(frozen=True)
class HeunSampler(FlowSampler):
    """Heun's method (Karras et al. 2022, algorithm 1, or 2 with churn): second order, 2 T - 1 network calls.

    A step uses the mean of the slopes at its two ends. The last step, to sigma = 0, uses the slope at its start.
    """

    @classmethod
    def calls_for(cls, steps: int) -> int:
        """Return 2 T - 1."""
        return 2 * steps - 1

    @classmethod
    def steps_for(cls, calls: int) -> int:
        """Return (calls + 1) / 2, rounded down."""
        return (calls + 1) // 2

    def slope(self, y: Tensor, here: Tensor, sigma: float, step: int, label: ConditionLike | None) -> Tensor:
        """Return the mean of eps at the start of the step and eps at the end of Euler's step."""
        schedule, at = self.reverse.schedule, _times(step - 1, y)
        width, signal = float(schedule.sigma[step - 1]) - sigma, float(schedule.signal[step - 1])
        return heun_slope(y, here, width, lambda ahead: self.reverse.predict(ahead * signal, at, label).noise)


def _times(step: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), step, device=like.device)
