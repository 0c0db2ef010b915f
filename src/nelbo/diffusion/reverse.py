"""The reverse process p_theta: noise to data (eqs. 1, 11, 13 and 15)."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nelbo.diffusion.constraint import Constraint
from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.guidance import Guidance
from nelbo.diffusion.parameterization import NoisePrediction, Parameterization, noise_given_data
from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.diffusion.variance import FixedLarge, Variance
from nelbo.errors import ShapeError
from nelbo.probability import DiagonalGaussian, DiscretizedGaussian


@dataclass(frozen=True)
class Prediction:
    """What one call of the network says of x_t: the data, the noise between them, and the variance of the step."""

    x_0: Tensor
    noise: Tensor
    variance: Tensor


@dataclass(frozen=True)
class ReverseProcess:
    """p_theta(x_{0:T}): a network read through a schedule, a parameterization and a choice of variance.

    Attributes:
        network: `network(x_t, time)` or `network(x_t, time, label)` -> (B, C, ...), or (B, 2C, ...) where the variance
            is learned. `time` is the network's own time: this class is the one place that calls it.
        schedule: the chain walked here, perhaps a stride of the one that the network was trained on.
        levels: K, the number of levels of the data (eq. 13).
        clip: hold xhat_0 within [-1, 1].
        constraints: what else xhat_0 is held to, in this order; the noise is derived again from what is left of it.
        guidance: how far a label is followed beyond what the network itself makes of it; None for just that.
    """

    network: Callable[..., Tensor]
    schedule: NoiseSchedule
    parameterization: Parameterization = field(default_factory=NoisePrediction)
    variance: Variance = field(default_factory=FixedLarge)
    levels: int = 256
    clip: bool = False
    constraints: tuple[Constraint, ...] = ()
    guidance: Guidance | None = None

    @property
    def forward_process(self) -> ForwardProcess:
        """q of the same schedule."""
        return ForwardProcess(self.schedule)

    @property
    def prior(self) -> DiagonalGaussian:
        """p(x_T) = N(0, I), as scalars that broadcast against any shape, in the precision of the tables."""
        table = self.schedule.alphas_bar
        return DiagonalGaussian(table.new_zeros(()), table.new_ones(()))

    def output(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The network's raw output for x_t (B, C, ...) at t (B,): its mean half and, where learned, its variance half.

        Raises:
            ShapeError: an output of another shape than x_t (with twice its channels where the variance is learned).
        """
        time = self.schedule.timesteps.to(t.device)[t]
        if label is None:
            raw = self.network(x_t, time)
        elif self.guidance is None:
            raw = self.network(x_t, time, label)
        else:
            raw = self.guidance(self.network, x_t, time, label)
        raw = raw.to(x_t.dtype)
        channels = x_t.shape[1] * (2 if self.variance.learned else 1)
        if raw.shape != (x_t.shape[0], channels, *x_t.shape[2:]):
            raise ShapeError(
                f"the network returned {tuple(raw.shape)} for an input of {tuple(x_t.shape)}; with the variance "
                f"{self.variance.name!r} {channels} channels are expected."
            )
        if not self.variance.learned:
            return raw, None
        mean_half, variance_half = raw.chunk(2, dim=1)
        return mean_half, variance_half

    def read(self, output: Tensor, variance_output: Tensor | None, x_t: Tensor, t: Tensor) -> Prediction:
        """The network's output for x_t at t, read as x_0, noise and variance."""
        implied = self.parameterization.read(self.schedule, output, x_t, t)
        x_0, noise = implied.x_0, implied.noise
        if self.clip:
            x_0 = x_0.clamp(-1, 1)
        for constraint in self.constraints:
            x_0 = constraint(x_0, t)
        if self.clip or self.constraints:
            noise = noise_given_data(self.schedule, x_0, x_t, t)
        return Prediction(x_0, noise, self.variance(self.schedule, x_t, t, variance_output))

    def predict(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Prediction:
        """One call of the network: xhat_0 (eq. 15), the noise, and sigma_t^2."""
        return self.read(*self.output(x_t, t, label), x_t, t)

    def score(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """The learned score, an estimate of the gradient of log q(x_t): -eps_theta / sqrt(1 - alphas_bar_t).

        Ho et al., section 3.2: L_simple is denoising score matching (Vincent 2011) over the noise levels of the chain.
        """
        return -self.predict(x_t, t, label).noise / self.schedule.at(self.schedule.noise_stddev, t, x_t)

    def transition_of(self, prediction: Prediction, x_t: Tensor, t: Tensor) -> DiagonalGaussian:
        """p_theta(x_{t-1}|x_t) of a prediction already made: eq. 7 at xhat_0, with variance sigma_t^2."""
        mean = self.forward_process.posterior(prediction.x_0, x_t, t).mean
        return DiagonalGaussian(mean, prediction.variance)

    def transition(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> DiagonalGaussian:
        """Eq. 1: p_theta(x_{t-1}|x_t) = N(mu_theta(x_t, t), sigma_t^2 I); mu_theta is eq. 11 for a noise prediction."""
        return self.transition_of(self.predict(x_t, t, label), x_t, t)

    def decoder_of(self, transition: DiagonalGaussian) -> DiscretizedGaussian:
        """Eq. 13 from the transition at t = 1."""
        return DiscretizedGaussian(transition.mean, transition.variance, self.levels)

    def decoder(self, x_1: Tensor, label: Tensor | None = None) -> DiscretizedGaussian:
        """Eq. 13: p_theta(x_0|x_1), the transition at t = 1 integrated over the bins of the K levels."""
        t = torch.ones(len(x_1), dtype=torch.int64, device=x_1.device)
        return self.decoder_of(self.transition(x_1, t, label))
