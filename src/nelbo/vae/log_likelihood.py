"""Estimates of log p(x) for growing numbers of samples S: plain Monte Carlo, importance-weighted, and the ELBO."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.diffusion import sum_dims
from nelbo.display import Displayed, Frame, counted, data_frame
from nelbo.options import check_whole
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.progress import Progress
from nelbo.randomness import MONTE_CARLO, derived_seed
from nelbo.vae.bound import LatentModel
from nelbo.vae.fitting import fit_posterior

CHUNK = 500  # samples decoded at once
WIDER = 1.4  # a q fitted to the ELBO is too narrow for importance weights: rare z outside it get huge weights


@dataclass(frozen=True)
class MonteCarloReport(Displayed):
    """Estimates of log p(x), nats per image, (len(samples), B) float64 each.

    Attributes:
        samples: S of each row: the powers of ten and the total number.
        plain: log of the mean of p(x|z) over S draws of p(z). The mean is unbiased for p(x), but almost all draws have
            a negligible likelihood.
        importance: log of the mean of p(x|z) p(z) / q(z|x) over S draws of q(z|x) (Burda et al. 2016).
        elbo: mean of log p(x|z) over the same draws, minus the exact KL(q(z|x) || p(z)).
        fitted_importance, fitted_elbo: the same with the q of each image from `fit_posterior`, with its variance
            multiplied by `WIDER`. This lowers the ELBO a little and makes the weights converge. None without a fit.
        seed: of the draws.
    """

    samples: tuple[int, ...]
    plain: Tensor
    importance: Tensor
    elbo: Tensor
    fitted_importance: Tensor | None = None
    fitted_elbo: Tensor | None = None
    seed: int | None = None

    def summary(self) -> Mapping[str, str]:
        """Return the mean of each estimate at the largest number of samples."""
        means = {name: f"{float(value[-1].mean()):.3f} nats" for name, value in self.estimates.items()}
        images, samples = counted(self.plain.shape[1], "image"), counted(self.samples[-1], "sample")
        return {**means, "mean of": f"{images}, {samples}, seed {self.seed}"}

    def to_pandas(self) -> Frame:
        """Return the estimates as a data frame of pandas: a row for each number of samples and image, in nats.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame(self.rows())

    @property
    def estimates(self) -> dict[str, Tensor]:
        """The estimates that were made, by name."""
        names = ("plain", "importance", "elbo", "fitted_importance", "fitted_elbo")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def rows(self) -> list[dict[str, Any]]:
        """Return one record of the estimates, nats, for each S and image."""
        return [
            {"samples": s, "image": i, **{name: float(value[row, i]) for name, value in self.estimates.items()}}
            for row, s in enumerate(self.samples)
            for i in range(self.plain.shape[1])
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the means over the images for each S, and the values of every image, nats per image."""
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
    progress: Progress | None = None,
) -> MonteCarloReport:
    """Estimate log p(x) in several ways, at S = 1, 10, 100, ... and at S = `samples`.

    Each draw of the prior is decoded once and used for every image. The plain estimates of the images share these
    draws; each estimate alone is the same as without sharing. A draw of q(z|x) serves only its own image, so
    `samples` * (B + 1) draws are decoded, or `samples` * (2 B + 1) with `fit`. At most `chunk` draws are in memory at
    once.

    Args:
        model: p(z), p(x|z) and q(z|x).
        x_0: (B, ...) data.
        samples: the largest S.
        fit: steps of `fit_posterior` for a second q beside the encoder's; 0 for the encoder's q only.
        seed: seed of the draws.
        chunk: draws decoded at once.
        progress: called with (samples done, samples in total).

    Raises:
        ConfigurationError: `samples` is below 1, or `fit` is negative.
    """
    check_whole("samples", samples)
    check_whole("fit", fit, 0)
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
    plain_nats, importance, elbo, *fitted_nats = (torch.stack(column) for column in zip(*rows, strict=True))
    fitted_columns = dict(zip(("fitted_importance", "fitted_elbo"), fitted_nats, strict=False))
    return MonteCarloReport(reported, plain_nats, importance, elbo, **fitted_columns, seed=seed)


class _Proposal:
    """Draws of a q(z|x) (B, latent) for each example of x_0 (B, ...), and their estimates of log p(x)."""

    def __init__(self, model: LatentModel, q: DiagonalGaussian, x_0: Tensor, generator: torch.Generator) -> None:
        self.model, self.q, self.x_0, self.generator = model, q, x_0, generator
        self.kl = sum_dims(kl_divergence(q, model.prior)).double().cpu()
        self.weights, self.given, self.count = _LogMean(len(x_0)), torch.zeros(len(x_0), dtype=torch.float64), 0

    def draw(self, num: int) -> None:
        """Add `num` draws for each image."""
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
        """(B,) the importance-weighted bound of the draws so far."""
        return self.weights.value

    @property
    def elbo(self) -> Tensor:
        """(B,) the ELBO of the draws so far."""
        return self.given / self.count - self.kl


class _LogMean:
    """The logarithm of a running mean of numbers given by their logarithms, (B, n) at a time."""

    def __init__(self, num: int) -> None:
        self.log_sum = torch.full((num,), -math.inf, dtype=torch.float64)
        self.count = 0

    def add(self, logs: Tensor) -> None:
        """Add the numbers with the logarithms (B, n)."""
        self.log_sum = torch.logaddexp(self.log_sum, logs.double().logsumexp(1).cpu())
        self.count += logs.shape[1]

    @property
    def value(self) -> Tensor:
        """(B,) the logarithm of the mean of all numbers so far."""
        return self.log_sum - math.log(self.count)


def _reported(samples: int) -> tuple[int, ...]:
    """Return 1, 10, 100, ... up to `samples`, and `samples`."""
    powers = [10**n for n in range(len(str(samples)))]
    return tuple(sorted({*powers, samples}))


def _chunks(reported: tuple[int, ...], chunk: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of parts of 0..S, of at most `chunk` each; a part ends at each reported number."""
    for start, end in zip((0, *reported), reported, strict=False):
        for place in range(start, end, chunk):
            yield place, min(place + chunk, end)
