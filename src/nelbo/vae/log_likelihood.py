"""Estimates of log p(x) as the number of samples S grows: plain Monte Carlo, importance-weighted, the ELBO."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.diffusion import sum_dims
from nelbo.errors import ConfigurationError
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.randomness import MONTE_CARLO, derived_seed
from nelbo.vae.bound import LatentModel
from nelbo.vae.fitting import fit_posterior

CHUNK = 500  # samples decoded at once
WIDER = 1.4  # a q fitted to the ELBO is too narrow to weigh by: the rare z beyond it weigh too much


@dataclass(frozen=True)
class MonteCarloReport:
    """Estimates of log p(x), nats an image, each (len(samples), B) float64.

    Attributes:
        samples: S of each row: the powers of ten, and the last.
        plain: log of the mean of p(x|z) over S draws of p(z). Unbiased for p(x), but few draws know of x.
        importance: log of the mean of p(x|z) p(z) / q(z|x) over S draws of q(z|x) (Burda et al. 2016).
        elbo: mean of log p(x|z) over the same draws, less the exact KL(q(z|x) || p(z)).
        fitted_importance, fitted_elbo: the same with each image's own q from `fit_posterior`, its variance `WIDER`
            times as large: that costs the ELBO a little, and lets the weights come to rest. None without.
    """

    samples: tuple[int, ...]
    plain: Tensor
    importance: Tensor
    elbo: Tensor
    fitted_importance: Tensor | None = None
    fitted_elbo: Tensor | None = None

    @property
    def estimates(self) -> dict[str, Tensor]:
        """By name, those that there are."""
        names = ("plain", "importance", "elbo", "fitted_importance", "fitted_elbo")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def rows(self) -> list[dict[str, Any]]:
        """One for each S and image: the estimates, nats."""
        return [
            {"samples": s, "image": i, **{name: float(value[row, i]) for name, value in self.estimates.items()}}
            for row, s in enumerate(self.samples)
            for i in range(self.plain.shape[1])
        ]

    def to_json(self) -> dict[str, Any]:
        """Nats an image: the means over the images by S, and every image's."""
        means = [
            {"samples": s, **{name: float(value[row].mean()) for name, value in self.estimates.items()}}
            for row, s in enumerate(self.samples)
        ]
        return {"mean_nats": means, "nats": self.rows()}


@torch.no_grad()
def monte_carlo(
    model: LatentModel,
    x_0: Tensor,
    *,
    samples: int = 100_000,
    fit: int = 0,
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> MonteCarloReport:
    """Estimate log p(x) of data x_0 (B, ...) in several ways, at S = 1, 10, 100, ... and at S = `samples`.

    Each draw of the prior is decoded once and scores every image: the images' plain estimates share their draws, which
    leaves each of them as it would be alone. A draw of q(z|x) serves its own image only, so `samples` * (B + 1) draws
    are decoded, or `samples` * (2 B + 1) with `fit`. No more than `chunk` are held at once, whatever `samples` is.

    Args:
        fit: steps of `fit_posterior` for a second q beside the encoder's; 0 for the encoder's alone.
        progress: called with (samples done, samples in all).

    Raises:
        ConfigurationError: less than one sample, or fewer than no steps.
    """
    if samples < 1:
        raise ConfigurationError(f"--samples must be at least 1, got {samples}.")
    own = [torch.Generator().manual_seed(derived_seed(seed, MONTE_CARLO, use)) for use in range(4)]
    exact, plain = x_0.double(), _LogMean(len(x_0))
    proposals = [_Proposal(model, model.posterior(x_0), exact, own[1])]
    if fit:
        fitted = fit_posterior(model, x_0, fit, own[2])
        wider = DiagonalGaussian(fitted.mean, WIDER * fitted.variance)
        proposals.append(_Proposal(model, wider, exact, own[3]))
    rows, reported = [], _reported(samples)
    for start, end in _chunks(reported, chunk):
        num = end - start
        shared = model.likelihood(model.prior.sample(own[0], (num, *model.prior.mean.shape)))
        plain.add(torch.stack([sum_dims(shared.log_prob(x[None])) for x in exact]))
        for proposal in proposals:
            proposal.draw(num)
        if end in reported:
            rows.append((plain.value, *(value for each in proposals for value in (each.importance, each.elbo))))
        if progress is not None:
            progress(end, samples)
    return MonteCarloReport(reported, *(torch.stack(column) for column in zip(*rows, strict=True)))


class _Proposal:
    """Draws of a q(z|x) (B, latent) for each of x_0 (B, ...), and what they say of log p(x)."""

    def __init__(self, model: LatentModel, q: DiagonalGaussian, x_0: Tensor, generator: torch.Generator) -> None:
        self.model, self.q, self.x_0, self.generator = model, q, x_0, generator
        self.kl = sum_dims(kl_divergence(q, model.prior)).double().cpu()
        self.weights, self.given, self.count = _LogMean(len(x_0)), torch.zeros(len(x_0), dtype=torch.float64), 0

    def draw(self, num: int) -> None:
        """Draw `num` more for each image."""
        given, weights = [], []
        for x, mean, variance in zip(self.x_0, self.q.mean, self.q.variance, strict=True):
            q = DiagonalGaussian(mean, variance)
            z = q.sample(self.generator, (num, *mean.shape))
            given.append(sum_dims(self.model.likelihood(z).log_prob(x[None])).double())
            weights.append(given[-1] + sum_dims(self.model.prior.log_prob(z) - q.log_prob(z)).double())
        self.weights.add(torch.stack(weights))
        self.given += torch.stack(given).sum(1).cpu()
        self.count += num

    @property
    def importance(self) -> Tensor:
        """(B,) the importance-weighted bound so far."""
        return self.weights.value

    @property
    def elbo(self) -> Tensor:
        """(B,) the ELBO so far."""
        return self.given / self.count - self.kl


class _LogMean:
    """The logarithm of a mean of numbers known by their logarithms, as they come: (B, n) at a time."""

    def __init__(self, num: int) -> None:
        self.log_sum = torch.full((num,), -math.inf, dtype=torch.float64)
        self.count = 0

    def add(self, logs: Tensor) -> None:
        """Count n more of each."""
        self.log_sum = torch.logaddexp(self.log_sum, logs.double().logsumexp(1).cpu())
        self.count += logs.shape[1]

    @property
    def value(self) -> Tensor:
        """(B,) the logarithm of the mean so far."""
        return self.log_sum - math.log(self.count)


def _reported(samples: int) -> tuple[int, ...]:
    """1, 10, 100, ... as far as `samples`, and `samples`."""
    powers = [10**n for n in range(len(str(samples)))]
    return tuple(sorted({*powers, samples}))


def _chunks(reported: tuple[int, ...], chunk: int) -> Iterator[tuple[int, int]]:
    """0..S cut into stretches of at most `chunk` that end at each number reported."""
    for start, end in zip((0, *reported), reported, strict=False):
        for place in range(start, end, chunk):
            yield place, min(place + chunk, end)
