"""What the network's output stands for, and how x_0 and the noise are read off it (eqs. 8 to 11 and 15)."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.probability import expected_level


@dataclass(frozen=True)
class Implied:
    """The two ends of x_t = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise, as a network sees them: (B, ...)."""

    x_0: Tensor
    noise: Tensor


class Parameterization(Protocol):
    """An output's two sides: the value it is trained towards, and the x_0 and noise that it implies.

    x_0, noise, output and x_t are (B, ...), t is (B,) within 1..T.
    """

    @property
    def name(self) -> str:
        """The name used in configurations."""

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The output of a perfect network that knew x_0."""

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """The data and the noise that the output implies."""


def noise_given_data(schedule: NoiseSchedule, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Eq. 4 solved for the noise: (x_t - sqrt(alphas_bar_t) x_0) / sqrt(1 - alphas_bar_t)."""
    return (x_t - schedule.at(schedule.signal, t, x_t) * x_0) / schedule.at(schedule.noise_stddev, t, x_t)


def data_given_noise(schedule: NoiseSchedule, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Eq. 15: (x_t - sqrt(1 - alphas_bar_t) noise) / sqrt(alphas_bar_t)."""
    return (x_t - schedule.at(schedule.noise_stddev, t, x_t) * noise) / schedule.at(schedule.signal, t, x_t)


@dataclass(frozen=True)
class NoisePrediction:
    """The output is the whole noise between x_0 and x_t (eq. 11), the paper's choice."""

    name: str = "noise"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise."""
        return noise

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """x_0 by eq. 15."""
        return Implied(data_given_noise(schedule, output, x_t, t), output)


@dataclass(frozen=True)
class DataPrediction:
    """The output is x_0."""

    name: str = "data"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The data."""
        return x_0

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """The noise by eq. 4."""
        return Implied(output, noise_given_data(schedule, output, x_t, t))


@dataclass(frozen=True)
class VelocityPrediction:
    """The output is v = sqrt(alphas_bar_t) noise - sqrt(1 - alphas_bar_t) x_0 (Salimans & Ho 2022)."""

    name: str = "velocity"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """v."""
        return schedule.at(schedule.signal, t, x_t) * noise - schedule.at(schedule.noise_stddev, t, x_t) * x_0

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """x_0 = sqrt(alphas_bar_t) x_t - sqrt(1 - alphas_bar_t) v, and v turned the other way for the noise."""
        signal, stddev = schedule.at(schedule.signal, t, x_t), schedule.at(schedule.noise_stddev, t, x_t)
        return Implied(signal * x_t - stddev * output, stddev * x_t + signal * output)


@dataclass(frozen=True)
class MeanPrediction:
    """The output is the posterior mean mutilde_t(x_t, x_0) of eq. 7, the straightforward choice (eq. 8)."""

    name: str = "mean"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """mutilde_t."""
        return ForwardProcess(schedule).posterior(x_0, x_t, t).mean

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """x_0 by eq. 7 solved for it, and the noise by eq. 4."""
        rest = schedule.at(schedule.posterior_x_t, t, x_t) * x_t
        x_0 = (output - rest) / schedule.at(schedule.posterior_x_0, t, x_t)
        return Implied(x_0, noise_given_data(schedule, x_0, x_t, t))


@dataclass(frozen=True)
class GridPrediction:
    """The output is the noise beyond what the grid of K levels alone tells: noise - noise_grid(x_t, t).

    noise_grid is the noise implied by E[x_0|x_t] for pixels that are independent and uniform over the K levels. It
    needs no training: a network that puts out 0 starts within a whisker of log2 K bits/dim, and what is left to learn
    is how pixels hang together. At low noise, where most of the bits are, the grid is nearly all there is to know.
    """

    levels: int = 256
    name: str = "grid"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """What the grid doesn't tell of the noise."""
        return noise - self.from_grid(schedule, x_t, t)

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """The grid's noise plus the output, and x_0 by eq. 15."""
        noise = self.from_grid(schedule, x_t, t) + output
        return Implied(data_given_noise(schedule, noise, x_t, t), noise)

    def from_grid(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor) -> Tensor:
        """noise_grid(x_t, t): eq. 4 solved for the noise at E[x_0|x_t] of a uniform pixel."""
        signal = schedule.at(schedule.signal, t, x_t)
        stddev = schedule.at(schedule.noise_stddev, t, x_t)
        return noise_given_data(schedule, expected_level(x_t / signal, stddev / signal, self.levels), x_t, t)
