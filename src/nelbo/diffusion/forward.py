"""The forward process q: data to noise, in closed form (eqs. 2, 4, 6 and 7)."""

from dataclasses import dataclass

from torch import Tensor

from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.probability import DiagonalGaussian


@dataclass(frozen=True)
class ForwardProcess:
    """The distributions q(x_{1:T}|x_0) of a schedule. x_0 and x_t are (B, ...), t is int64 (B,) within 1..T."""

    schedule: NoiseSchedule

    def step(self, x_previous: Tensor, t: Tensor) -> DiagonalGaussian:
        """Return q(x_t|x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I) (eq. 2)."""
        s = self.schedule
        return DiagonalGaussian(s.at(s.alphas, t, x_previous).sqrt() * x_previous, s.at(s.betas, t, x_previous))

    def marginal(self, x_0: Tensor, t: Tensor) -> DiagonalGaussian:
        """Return q(x_t|x_0) = N(sqrt(alphas_bar_t) x_0, (1 - alphas_bar_t) I) (eq. 4)."""
        s = self.schedule
        return DiagonalGaussian(s.at(s.signal, t, x_0) * x_0, s.at(s.noise_variance, t, x_0))

    def sample(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Return x_t = sqrt(alphas_bar_t) x_0 + sqrt(1 - alphas_bar_t) noise (eq. 4, reparameterised)."""
        s = self.schedule
        return s.at(s.signal, t, x_0) * x_0 + s.at(s.noise_stddev, t, x_0) * noise

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> DiagonalGaussian:
        """Return q(x_{t-1}|x_t, x_0) = N(mutilde_t(x_t, x_0), betatilde_t I) (eqs. 6, 7, 9 and 10); a point at t = 1.

        Eqs. 9 and 10 are the same mean with x_0 expressed by x_t and the noise.
        """
        s = self.schedule
        mean = s.at(s.posterior_x_0, t, x_t) * x_0 + s.at(s.posterior_x_t, t, x_t) * x_t
        return DiagonalGaussian(mean, s.at(s.posterior_variance, t, x_t))
