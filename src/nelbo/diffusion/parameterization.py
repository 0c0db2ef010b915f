"""What the network's output stands for, and how x_0 and the noise are read off it (eqs. 8 to 11 and 15)."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.schedule import NoiseSchedule


class Parameterization(Protocol):
    """Three views of one output: the value it is trained towards, and the x_0 and noise that it implies.

    x_0, noise, output and x_t are (B, ...), t is (B,) within 1..T.
    """

    @property
    def name(self) -> str:
        """The name used in configurations."""

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The output of a perfect network that knew x_0."""

    def x_0(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The data that the output implies."""

    def noise(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that the output implies."""


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

    def x_0(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Eq. 15."""
        return data_given_noise(schedule, output, x_t, t)

    def noise(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The output."""
        return output


@dataclass(frozen=True)
class DataPrediction:
    """The output is x_0."""

    name: str = "data"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The data."""
        return x_0

    def x_0(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The output."""
        return output

    def noise(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Eq. 4 solved for the noise."""
        return noise_given_data(schedule, output, x_t, t)


@dataclass(frozen=True)
class VelocityPrediction:
    """The output is v = sqrt(alphas_bar_t) noise - sqrt(1 - alphas_bar_t) x_0 (Salimans & Ho 2022)."""

    name: str = "velocity"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """v."""
        return schedule.at(schedule.signal, t, x_t) * noise - schedule.at(schedule.noise_stddev, t, x_t) * x_0

    def x_0(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """sqrt(alphas_bar_t) x_t - sqrt(1 - alphas_bar_t) v."""
        return schedule.at(schedule.signal, t, x_t) * x_t - schedule.at(schedule.noise_stddev, t, x_t) * output

    def noise(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """sqrt(1 - alphas_bar_t) x_t + sqrt(alphas_bar_t) v."""
        return schedule.at(schedule.noise_stddev, t, x_t) * x_t + schedule.at(schedule.signal, t, x_t) * output


@dataclass(frozen=True)
class MeanPrediction:
    """The output is the posterior mean mutilde_t(x_t, x_0) of eq. 7, the straightforward choice (eq. 8)."""

    name: str = "mean"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """mutilde_t."""
        return ForwardProcess(schedule).posterior(x_0, x_t, t).mean

    def x_0(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Eq. 7 solved for x_0."""
        rest = schedule.at(schedule.posterior_x_t, t, x_t) * x_t
        return (output - rest) / schedule.at(schedule.posterior_x_0, t, x_t)

    def noise(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Eq. 4 solved for the noise."""
        return noise_given_data(schedule, self.x_0(schedule, output, x_t, t), x_t, t)
