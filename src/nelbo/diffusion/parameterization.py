"""What the network's output means, and the x_0 and noise that it implies (eqs. 8 to 11 and 15)."""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.probability import expected_level


@dataclass(frozen=True)
class Implied:
    """x_0 and noise, (B, ...) each, with x_t = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise (eq. 4)."""

    x_0: Tensor
    noise: Tensor


class Parameterization(Protocol):
    """The meaning of the network's output: its training target, and the x_0 and noise that it implies.

    x_0, noise, output and x_t are (B, ...), t is int64 (B,) within 1..T.

    Examples:
        A network that predicts the noise in units of its own amplitude, sqrt(1 - alphas_bar_t) noise:

        >>> import torch
        >>> from nelbo.diffusion import NoisePrediction, NoiseSchedule, ReverseProcess
        >>> class ScaledNoisePrediction:
        ...     name = "scaled-noise"
        ...
        ...     def target(self, schedule, x_0, noise, x_t, t):
        ...         return schedule.at(schedule.noise_stddev, t, x_t) * noise
        ...
        ...     def read(self, schedule, output, x_t, t):
        ...         noise = output / schedule.at(schedule.noise_stddev, t, x_t)
        ...         return NoisePrediction().read(schedule, noise, x_t, t)
        ...
        ...     def x_0_weight(self, schedule, t):
        ...         return schedule.alphas_bar[t]
        >>> reverse = ReverseProcess(lambda x_t, t: 0 * x_t, NoiseSchedule.linear(), ScaledNoisePrediction())
        >>> prediction = reverse.predict(torch.ones(1, 1, 2, 2), torch.tensor([500]))
        >>> float(prediction.noise.max()), round(float(prediction.x_0.max()), 4)  # x_t / sqrt(alphas_bar_t)
        (0.0, 3.5672)
    """

    name: ClassVar[str]
    """The name in recipes and reports."""

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the output of a perfect network that knows x_0, (B, ...)."""

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """Return the x_0 and the noise that an output implies."""

    def x_0_weight(self, schedule: NoiseSchedule, t: Tensor) -> Tensor:
        """Return the w_t (B,), float64, with (target - output)^2 = w_t (x_0 - xhat_0)^2 at a given x_t."""


def noise_given_data(schedule: NoiseSchedule, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Return the noise (x_t - sqrt(alphas_bar_t) x_0) / sqrt(1 - alphas_bar_t) (eq. 4, solved for the noise)."""
    return (x_t - schedule.at(schedule.signal, t, x_t) * x_0) / schedule.at(schedule.noise_stddev, t, x_t)


def data_given_noise(schedule: NoiseSchedule, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
    """Return xhat_0 = (x_t - sqrt(1 - alphas_bar_t) noise) / sqrt(alphas_bar_t) (eq. 15)."""
    return (x_t - schedule.at(schedule.noise_stddev, t, x_t) * noise) / schedule.at(schedule.signal, t, x_t)


@dataclass(frozen=True)
class NoisePrediction:
    """The output is the whole noise between x_0 and x_t (eqs. 10 and 11), the paper's choice."""

    name: ClassVar[str] = "noise"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the noise."""
        return noise

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """Return x_0 by eq. 15, and the output as the noise."""
        return Implied(data_given_noise(schedule, output, x_t, t), output)

    def x_0_weight(self, schedule: NoiseSchedule, t: Tensor) -> Tensor:
        """Return SNR_t."""
        return schedule.snr.to(t.device)[t]


@dataclass(frozen=True)
class DataPrediction:
    """The output is x_0."""

    name: ClassVar[str] = "data"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return x_0."""
        return x_0

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """Return the output as x_0, and the noise by eq. 4."""
        return Implied(output, noise_given_data(schedule, output, x_t, t))

    def x_0_weight(self, schedule: NoiseSchedule, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(schedule.snr.to(t.device)[t])


@dataclass(frozen=True)
class VelocityPrediction:
    """The output is v = sqrt(alphas_bar_t) noise - sqrt(1 - alphas_bar_t) x_0 (Salimans & Ho 2022)."""

    name: ClassVar[str] = "velocity"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return v."""
        return schedule.at(schedule.signal, t, x_t) * noise - schedule.at(schedule.noise_stddev, t, x_t) * x_0

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """Return x_0 = sqrt(alphas_bar_t) x_t - sqrt(1 - alphas_bar_t) v and the noise, both by the inverse rotation.

        The noise is sqrt(1 - alphas_bar_t) x_t + sqrt(alphas_bar_t) v.
        """
        signal, stddev = schedule.at(schedule.signal, t, x_t), schedule.at(schedule.noise_stddev, t, x_t)
        return Implied(signal * x_t - stddev * output, stddev * x_t + signal * output)

    def x_0_weight(self, schedule: NoiseSchedule, t: Tensor) -> Tensor:
        """Return SNR_t + 1."""
        return schedule.snr.to(t.device)[t] + 1


@dataclass(frozen=True)
class MeanPrediction:
    """The output is the posterior mean mutilde_t(x_t, x_0) of eq. 7, as eq. 8 suggests."""

    name: ClassVar[str] = "mean"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return mutilde_t (eq. 7)."""
        return ForwardProcess(schedule).posterior(x_0, x_t, t).mean

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """Return x_0 by eq. 7, solved for x_0, and the noise by eq. 4."""
        rest = schedule.at(schedule.posterior_x_t, t, x_t) * x_t
        x_0 = (output - rest) / schedule.at(schedule.posterior_x_0, t, x_t)
        return Implied(x_0, noise_given_data(schedule, x_0, x_t, t))

    def x_0_weight(self, schedule: NoiseSchedule, t: Tensor) -> Tensor:
        """Return the square of the coefficient of x_0 in mutilde_t (eq. 7)."""
        return schedule.posterior_x_0.to(t.device)[t] ** 2


@dataclass(frozen=True)
class GridPrediction:
    """The output is the noise that the grid of K levels does not explain: noise - noise_grid(x_t, t).

    noise_grid is the noise that E[x_0|x_t] implies for independent pixels, uniform over the K levels. It needs no
    training: a network that outputs 0 starts close to log2 K bits/dim, and only the dependence between pixels is left
    to learn. At low noise, where most of the bits are spent, the grid explains almost all of the noise.

    Attributes:
        levels: K, the number of levels of the data.
    """

    levels: int = 256
    name: ClassVar[str] = "grid"

    def target(self, schedule: NoiseSchedule, x_0: Tensor, noise: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return noise - noise_grid(x_t, t)."""
        return noise - self.from_grid(schedule, x_t, t)

    def read(self, schedule: NoiseSchedule, output: Tensor, x_t: Tensor, t: Tensor) -> Implied:
        """Return x_0 by eq. 15, and the noise as noise_grid plus the output."""
        noise = self.from_grid(schedule, x_t, t) + output
        return Implied(data_given_noise(schedule, noise, x_t, t), noise)

    def x_0_weight(self, schedule: NoiseSchedule, t: Tensor) -> Tensor:
        """Return SNR_t, as for `NoisePrediction`: noise_grid depends on x_t alone."""
        return schedule.snr.to(t.device)[t]

    def from_grid(self, schedule: NoiseSchedule, x_t: Tensor, t: Tensor) -> Tensor:
        """Return noise_grid(x_t, t), (B, ...): eq. 4 solved for the noise at E[x_0|x_t] of a uniform pixel."""
        signal = schedule.at(schedule.signal, t, x_t)
        stddev = schedule.at(schedule.noise_stddev, t, x_t)
        return noise_given_data(schedule, expected_level(x_t / signal, stddev / signal, self.levels), x_t, t)
