"""The forward process q: data to noise, in closed form (eqs. 2, 4, 6 and 7)."""

from dataclasses import dataclass

from torch import Tensor

from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.probability import DiagonalGaussian


@dataclass(frozen=True)
class ForwardProcess:
    """q(x_{1:T}|x_0) of a schedule. Data x_0 and x_t are (B, ...), t is int64 (B,) within 1..T."""

    schedule: NoiseSchedule

    def step(self, x_previous: Tensor, t: Tensor) -> DiagonalGaussian:
        """Eq. 2: q(x_t|x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)."""
        s = self.schedule
        return DiagonalGaussian(s.at(s.alphas, t, x_previous).sqrt() * x_previous, s.at(s.betas, t, x_previous))

    def marginal(self, x_0: Tensor, t: Tensor) -> DiagonalGaussian:
        """Eq. 4: q(x_t|x_0) = N(sqrt(alphas_bar_t) x_0, (1 - alphas_bar_t) I)."""
        s = self.schedule
        return DiagonalGaussian(s.at(s.signal, t, x_0) * x_0, s.at(s.noise_variance, t, x_0))

    def sample(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t(x_0, noise) = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise: eq. 4, reparameterised."""
        s = self.schedule
        return s.at(s.signal, t, x_0) * x_0 + s.at(s.noise_stddev, t, x_0) * noise

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> DiagonalGaussian:
        """Eqs. 6 and 7: q(x_{t-1}|x_t, x_0) = N(mutilde_t(x_t, x_0), betatilde_t I); a point at t = 1."""
        s = self.schedule
        mean = s.at(s.posterior_x_0, t, x_t) * x_0 + s.at(s.posterior_x_t, t, x_t) * x_t
        return DiagonalGaussian(mean, s.at(s.posterior_variance, t, x_t))
