"""The probability-flow ODE (Song et al. 2021) in the variables of Karras et al. 2022: Euler's and Heun's methods.

With y = x_t / sqrt(abar_t) and sigma = 1 / sqrt(SNR) the ODE is dy / dsigma = eps(x_t, t), and x_0 is y at sigma = 0.
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.diffusion import Prediction, heun_slope
from nelbo.errors import ConfigurationError
from nelbo.randomness import Generators, standard_normal
from nelbo.samplers.sampler import Sampler, Step

MOST_CHURN = math.sqrt(2) - 1  # of sigma in one step (Karras et al. 2022, algorithm 2)


@dataclass(frozen=True)
class FlowSampler(Sampler):
    """Walks the ODE, from places that are noised up a little where there is churn.

    Attributes:
        churn: S_churn: before each of the T steps sigma rises by the share churn / T of itself, at most sqrt(2) - 1, to
            the nearest step of the whole schedule, and x_t is given as much more noise.
    """

    churn: float = 0.0

    def __post_init__(self) -> None:
        if not self.churn >= 0:
            raise ConfigurationError(f"--churn must be 0 or more, got {self.churn}.")

    @abstractmethod
    def slope(self, y: Tensor, here: Tensor, sigma: float, step: int, label: Tensor | None) -> Tensor:
        """dy / dsigma for the way to `step` - 1, 1 or more, from y at `sigma`, where it is `here`."""

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: Tensor | None = None) -> Iterator[Step]:
        """See `Sampler.walk`; with churn each xhat_0 is seen from where its x_t was lifted to."""
        schedule = self.reverse.schedule
        y = x_t / float(schedule.signal[t])
        for step in range(t, 0, -1):
            stirred, sigma, prediction = self._seen(y, step, generator, label)
            yield Step(step, y * float(schedule.signal[step]), prediction.x_0)
            if step == 1:
                y = prediction.x_0  # y - sigma eps, but for rounding
            else:
                slope = self.slope(stirred, prediction.noise, sigma, step, label)
                y = stirred + (float(schedule.sigma[step - 1]) - sigma) * slope
        yield Step(0, y, y)

    def _seen(
        self, y: Tensor, step: int, generator: Generators, label: Tensor | None
    ) -> tuple[Tensor, float, Prediction]:
        """The place from which the step is taken, its sigma, and what the network says there."""
        reverse, sigma, at = self.reverse, float(self.reverse.schedule.sigma[step]), step
        raised = self._raised(step)
        if raised is not None:
            reverse, at = replace(reverse, schedule=reverse.schedule.whole or reverse.schedule), raised
            added = reverse.schedule.sigma_lacking(at, sigma) * standard_normal(y.shape, generator, y)
            y, sigma = y + added, float(reverse.schedule.sigma[at])
        return y, sigma, reverse.predict(y * float(reverse.schedule.signal[at]), _times(at, y), label)

    def _raised(self, step: int) -> int | None:
        """The step of the whole schedule to which churn lifts `step`; None where the nearest is no higher."""
        schedule = self.reverse.schedule
        sigmas = (schedule.whole or schedule).sigma
        wanted = schedule.sigma[step] * (1 + min(self.churn / schedule.num_steps, MOST_CHURN))
        nearest = int((sigmas[1:] - wanted).abs().argmin()) + 1
        return nearest if bool(sigmas[nearest] > schedule.sigma[step]) else None


@dataclass(frozen=True)
class EulerSampler(FlowSampler):
    """The slope where the step begins: first order, one call a step. Without churn it is DDIM with eta = 0."""

    def slope(self, y: Tensor, here: Tensor, sigma: float, step: int, label: Tensor | None) -> Tensor:
        """eps as seen."""
        return here


@dataclass(frozen=True)
class HeunSampler(FlowSampler):
    """The mean of the slopes at both ends (Karras et al. 2022, algorithm 1 or 2): second order, 2 T - 1 calls.

    The last step, to sigma = 0, has one end only.
    """

    @classmethod
    def calls_for(cls, steps: int) -> int:
        """2 T - 1."""
        return 2 * steps - 1

    @classmethod
    def steps_for(cls, calls: int) -> int:
        """(calls + 1) / 2, rounded down."""
        return (calls + 1) // 2

    def slope(self, y: Tensor, here: Tensor, sigma: float, step: int, label: Tensor | None) -> Tensor:
        """The mean of eps as seen and eps where Euler's step would lead."""
        schedule, at = self.reverse.schedule, _times(step - 1, y)
        width, signal = float(schedule.sigma[step - 1]) - sigma, float(schedule.signal[step - 1])
        return heun_slope(y, here, width, lambda ahead: self.reverse.predict(ahead * signal, at, label).noise)


def _times(step: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), step, device=like.device)
