"""The bound by eq. 16, through the reverse process of the data itself, where the distribution of the data is known."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion.bound import BoundTerms, sum_dims
from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.errors import DataError
from nelbo.probability import DiagonalGaussian, Mixture, kl_divergence
from nelbo.randomness import standard_normal


@dataclass(frozen=True)
class KnownTerms(BoundTerms):
    """Draws of the terms of eq. 16, nats per example.

    Their mean over x_0 ~ q(x_0) is unbiased. A single draw can be negative.

    Attributes:
        prior: (B,) draws of KL(q(x_T) || p(x_T)).
        denoising: (B, T-1) draws of E KL(q(x_{t-1}|x_t) || p_theta(x_{t-1}|x_t)); column j is t = j + 2.
        decoder: (B,) draws of the same divergence at t = 1.
        entropy: (B,) draws of H(x_0).
    """

    entropy: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) draws of L by eq. 16, nats; their mean over q(x_0) equals that of eq. 5."""
        return super().total + self.entropy


@dataclass(frozen=True)
class KnownBound:
    """L = KL(q(x_T)||p(x_T)) + sum_{t>=1} E KL(q(x_{t-1}|x_t) || p_theta(x_{t-1}|x_t)) + H(x_0) (eq. 16).

    q(x_{t-1}|x_t) is a mixture, whose KL divergence from a Gaussian p has no closed form. The divergence splits into
    two parts, because E log p depends only on the mean and the variances of q. Let m be the Gaussian with that mean
    and those variances: KL(q||p) = KL(m||p) + KL(q||m). The first part has a closed form, and a network can change
    only this part. The second part is the cost of any step with a diagonal covariance. It is estimated by draws of
    log q - log m, which is 0 where q is such a Gaussian.

    If the data are points, they lie on the K levels of the reverse process and have probability masses: q(x_0|x_1) is
    a table over the points, and p_theta(x_0|x_1) is the decoder of eq. 13. If the data are Gaussians, they have
    densities, and p_theta(x_0|x_1) is the density N(mu_theta, sigma_1^2 I).
    """

    reverse: ReverseProcess
    data: Mixture

    @property
    def _q(self) -> ForwardProcess:
        return self.reverse.forward_process

    def log_marginal(self, x_t: Tensor, step: int) -> Tensor:
        """Return log q(x_t) at t = `step`, (B,) nats. `step` is within 0..T; at 0 the result is log q(x_0)."""
        s = self.reverse.schedule
        return self.data.log_prob(x_t, float(s.signal[step]), float(s.noise_stddev[step]))

    def log_posterior(self, x_before: Tensor, x_t: Tensor, step: int) -> Tensor:
        """Return log q(x_{t-1}|x_t) of eq. 16 at t = `step`, (B,) nats, by Bayes' rule. `step` is within 1..T."""
        log_step = self._q.step(x_before.double(), _every(step, x_t)).log_prob(x_t.double())
        return sum_dims(log_step) + self.log_marginal(x_before, step - 1) - self.log_marginal(x_t, step)

    def matched_posterior(self, x_t: Tensor, step: int) -> DiagonalGaussian:
        """Return the Gaussian with mean and variances of q(x_{t-1}|x_t): the best one with a diagonal covariance."""
        s, x = self.reverse.schedule, x_t.double()
        x_0 = self.data.given(x, float(s.signal[step]), float(s.noise_stddev[step]))
        posterior = self._q.posterior(x_0.mean, x, _every(step, x))
        return DiagonalGaussian(posterior.mean, posterior.variance + float(s.posterior_x_0[step]) ** 2 * x_0.variance)

    def step(self, x_0: Tensor, step: int, generator: torch.Generator | None) -> Tensor:
        """Return one draw of KL(q(x_{t-1}|x_t) || p_theta(x_{t-1}|x_t)) of eq. 16 at t = `step`, (B,) nats.

        x_t is drawn from q(x_t|x_0), so x_0 ~ q(x_0) makes it a draw of q(x_t).
        """
        x_before = x_0 if step == 1 else self._noisy(x_0, step - 1, generator)
        x_t = self._q.step(x_before, _every(step, x_0)).sample(generator)
        log_q = self.log_posterior(x_before, x_t, step)
        if step == 1 and self.data.variance == 0:
            return log_q - sum_dims(self.reverse.decoder(x_t).log_prob(x_0))
        p = self.reverse.transition(x_t, _every(step, x_0))
        return _divergence(log_q, self.matched_posterior(x_t, step), p, x_before)

    def prior(self, x_0: Tensor, generator: torch.Generator | None) -> Tensor:
        """Return one draw of KL(q(x_T) || p(x_T)) of eq. 16, (B,) nats, at x_T ~ q(x_T|x_0)."""
        last = self.reverse.schedule.num_steps
        x_T, x = self._noisy(x_0, last, generator), self.data.moments()
        seen = self._q.marginal(x.mean, _every(last, x.mean))
        matched = DiagonalGaussian(
            seen.mean, seen.variance + float(self.reverse.schedule.alphas_bar[last]) * x.variance
        )
        return _divergence(self.log_marginal(x_T, last), matched, self.reverse.prior, x_T)

    def entropy(self, x_0: Tensor) -> Tensor:
        """Return draws of H(x_0) of eq. 16, (B,) nats: -log q(x_0) for points, else the differential entropy.

        The mean over q(x_0) is H(x_0). For a single Gaussian each draw is exact.

        Raises:
            DataError: an example is not among the points of the data.
        """
        log_q = self.log_marginal(x_0, 0)
        if self.data.variance == 0:
            if not bool(log_q.isfinite().all()):
                raise DataError(
                    "an image isn't among the points of the distribution; eq. 16 is defined only for these."
                )
            return -log_q
        matched = self.data.moments()
        return sum_dims(matched.entropy()) - (log_q - sum_dims(matched.log_prob(x_0)))

    def terms(self, x_0: Tensor, generator: torch.Generator | None) -> KnownTerms:
        """Return every term of eq. 16 at draws x_0 (B, ...) of the data. The network is called T times.

        x_t is drawn independently for each t.
        """
        entropy = self.entropy(x_0)
        steps = [self.step(x_0, step, generator) for step in range(1, self.reverse.schedule.num_steps + 1)]
        denoising = torch.stack(steps[1:], 1) if len(steps) > 1 else entropy.new_zeros(len(x_0), 0)
        return KnownTerms(self.prior(x_0, generator), denoising, steps[0], entropy)

    def _noisy(self, x_0: Tensor, step: int, generator: torch.Generator | None) -> Tensor:
        return self._q.sample(x_0, _every(step, x_0), standard_normal(x_0.shape, generator, x_0))


def _every(step: int, like: Tensor) -> Tensor:
    return torch.full((len(like),), step, dtype=torch.int64, device=like.device)


def _divergence(log_q: Tensor, matched: DiagonalGaussian, p: DiagonalGaussian, x: Tensor) -> Tensor:
    """Return KL(m||p) plus a draw of KL(q||m) at x ~ q, (B,) nats."""
    return sum_dims(kl_divergence(matched, p)) + log_q - sum_dims(matched.log_prob(x.double()))
