"""The variational bound L on the negative log-likelihood, in both of its forms (eqs. 3 and 5)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike, hidden, observed_of
from nelbo.diffusion.reverse import Prediction, ReverseProcess
from nelbo.display import Brief
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.randomness import standard_normal


def bits_per_dim(nats: Tensor, num_dims: int | Tensor) -> Tensor:
    """Convert nats per image to bits per dimension; an image of C channels has C * H * W dimensions.

    Args:
        num_dims: of every image, or a tensor that broadcasts against `nats`: see `num_dims`.
    """
    return nats / (num_dims * math.log(2))


def sum_dims(values: Tensor, observed: Tensor | None = None) -> Tensor:
    """Sum over all observed dimensions but the first: nats per dimension (B, ...) become nats per example (B,)."""
    return hidden(values, observed).flatten(1).sum(1)


def num_dims(x: Tensor, observed: Tensor | None = None) -> int | Tensor:
    """Return the observed dimensions of each example of x (B, ...): one number if all are observed, else (B,) float.

    An example without observed pixels counts as one dimension, so that its 0 nats are 0 bits/dim.
    """
    if observed is None:
        return x[0].numel()
    return observed.expand_as(x).flatten(1).sum(1).clamp(min=1).to(torch.float64)


def mean_dims(values: Tensor, observed: Tensor | None = None) -> Tensor:
    """Return the mean over the observed dimensions of each example of values (B, ...): (B,)."""
    if observed is None:
        return values.flatten(1).mean(1)
    return sum_dims(values, observed) / num_dims(values, observed).to(values.dtype)  # type: ignore[union-attr]


@dataclass(frozen=True)
class BoundTerms(Brief):
    """The terms of eq. 5 for each example, in nats.

    Attributes:
        prior: (B,) L_T = KL(q(x_T|x_0) || p(x_T)).
        denoising: (B, T-1) L_{t-1} = KL(q(x_{t-1}|x_t,x_0) || p_theta(x_{t-1}|x_t)); column j is t = j + 2.
        decoder: (B,) L_0 = -log p_theta(x_0|x_1).
    """

    prior: Tensor
    denoising: Tensor
    decoder: Tensor

    @property
    def total(self) -> Tensor:
        """(B,) L = L_T + sum of L_{t-1} + L_0 (eq. 5), nats."""
        return self.prior + self.denoising.sum(1) + self.decoder


@dataclass(frozen=True)
class VariationalBound(Brief):
    """The bound L of a reverse process.

    x_0 is data (B, ...) on the K levels, t is int64 (B,) within 1..T, and noise (B, ...) is from N(0, I). All results
    are in nats per example.

    If the condition has a mask of observed pixels, the terms of missing pixels are 0, and L bounds
    -log p(observed pixels|mask): their x_t is a constant for the network, so their x_0 changes no result, and the other
    pixels form a chain of their own.
    """

    reverse: ReverseProcess

    def prior(self, x_0: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return L_T = KL(q(x_T|x_0) || p(x_T)) of eq. 5, (B,). It needs no network and no random draw."""
        return sum_dims(self.prior_by_dim(x_0, label))

    def prior_by_dim(self, x_0: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return the part of each dimension in L_T, (B, ...)."""
        last = torch.full((len(x_0),), self.reverse.schedule.num_steps, dtype=torch.int64, device=x_0.device)
        nats = kl_divergence(self.reverse.forward_process.marginal(x_0, last), self.reverse.prior)
        return hidden(nats, observed_of(label))

    def step(self, x_0: Tensor, t: Tensor, noise: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return one draw of L_{t-1} of eq. 5 (eqs. 8 and 22) per example, (B,), each at its own t.

        It is the KL divergence of two Gaussians for t > 1, and L_0 = -log p_theta(x_0|x_1) at t = 1.
        """
        x_t = self.reverse.forward_process.sample(x_0, t, noise)
        return self.step_of(self.reverse.predict(x_t, t, label), x_0, x_t, t)

    def step_of(self, prediction: Prediction, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return what `step` returns, from a prediction that was already made at x_t."""
        return sum_dims(self.step_by_dim(prediction, x_0, x_t, t))

    def step_by_dim(self, prediction: Prediction, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Return the part of each dimension in what `step_of` returns, (B, ...)."""
        seen = prediction.observed
        x_0, x_t = hidden(x_0, seen), hidden(x_t, seen)
        transition = self.reverse.transition_of(prediction, x_t, t)
        posterior = self.reverse.forward_process.posterior(x_0, x_t, t)
        # At t = 1 the posterior is a point. A variance of 1 keeps the KL finite there; L_0 replaces it below.
        variance = torch.where(posterior.variance == 0, 1.0, posterior.variance)
        nats = kl_divergence(DiagonalGaussian(posterior.mean, variance), transition)
        first = (t == 1).nonzero().squeeze(1)
        if len(first) == 0:
            return hidden(nats, seen)
        parts = (prediction.x_0, prediction.noise, prediction.variance)
        x_hat, eps, sigma2 = (each.expand_as(x_t)[first] for each in parts)
        some_seen = None if seen is None else seen.expand_as(x_t)[first]
        decoder = self.reverse.decoder_of(Prediction(x_hat, eps, sigma2, some_seen), x_t[first])
        return hidden(nats.index_copy(0, first, -decoder.log_prob(x_0[first])), seen)

    def decoder(self, x_0: Tensor, noise: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return one draw of L_0 = -log p_theta(x_0|x_1) of eq. 5 per example, (B,)."""
        return self.step(x_0, torch.ones(len(x_0), dtype=torch.int64, device=x_0.device), noise, label)

    def terms(self, x_0: Tensor, generator: torch.Generator | None, label: ConditionLike | None = None) -> BoundTerms:
        """Return every term of eq. 5, with one draw of x_t for each t. The network is called T times."""
        steps = []
        for t in range(1, self.reverse.schedule.num_steps + 1):
            noise = standard_normal(x_0.shape, generator, x_0)
            steps.append(self.step(x_0, torch.full((len(x_0),), t, device=x_0.device), noise, label))
        denoising = torch.stack(steps[1:], 1) if len(steps) > 1 else x_0.new_zeros(len(x_0), 0)
        return BoundTerms(self.prior(x_0, label), denoising, steps[0])

    def ratio(self, x_0: Tensor, generator: torch.Generator | None, label: ConditionLike | None = None) -> Tensor:
        """Return one draw of L by eq. 3 (eqs. 17 to 21) per example, (B,), along one path x_{1:T}.

        L = -log p(x_T) - sum_{t>=1} log p_theta(x_{t-1}|x_t) / q(x_t|x_{t-1}), where p_theta(x_0|x_1) is the decoder of
        eq. 13. The expectation equals that of eq. 5. The variance is larger while p_theta is far from the posterior,
        and smaller once it is near.
        """
        forward, seen = self.reverse.forward_process, observed_of(label)
        x, total = hidden(x_0, seen), torch.zeros(len(x_0), device=x_0.device, dtype=x_0.dtype)
        for step in range(1, self.reverse.schedule.num_steps + 1):
            t = torch.full((len(x_0),), step, device=x_0.device)
            transition_q = forward.step(x, t)
            x_t = transition_q.sample(generator)
            prediction = self.reverse.predict(x_t, t, label)
            p = (
                self.reverse.decoder_of(prediction, x_t)
                if step == 1
                else self.reverse.transition_of(prediction, x_t, t)
            )
            log_p = p.log_prob(x)
            total = total + sum_dims(transition_q.log_prob(x_t) - log_p, seen)
            x = x_t
        return total - sum_dims(self.reverse.prior.log_prob(x), seen)
