"""Three estimates of log p(x) as the number of samples S grows: plain Monte Carlo, importance-weighted, the ELBO."""

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

CHUNK = 500  # samples decoded at once
ESTIMATES = ("plain", "importance", "elbo")


@dataclass(frozen=True)
class MonteCarloReport:
    """Estimates of log p(x), nats an image, each (len(samples), B) float64.

    Attributes:
        samples: S of each row: the powers of ten, and the last.
        plain: log of the mean of p(x|z) over S draws of p(z). Unbiased for p(x), but few draws know of x.
        importance: log of the mean of p(x|z) p(z) / q(z|x) over S draws of q(z|x) (Burda et al. 2016).
        elbo: mean of log p(x|z) over the same draws, less the exact KL(q(z|x) || p(z)).
    """

    samples: tuple[int, ...]
    plain: Tensor
    importance: Tensor
    elbo: Tensor

    def rows(self) -> list[dict[str, Any]]:
        """One for each S and image: the three estimates, nats."""
        return [
            {"samples": s, "image": i, **{name: float(getattr(self, name)[row, i]) for name in ESTIMATES}}
            for row, s in enumerate(self.samples)
            for i in range(self.plain.shape[1])
        ]

    def to_json(self) -> dict[str, Any]:
        """Nats an image: the means over the images by S, and every image's."""
        means = [
            {"samples": s, **{name: float(getattr(self, name)[row].mean()) for name in ESTIMATES}}
            for row, s in enumerate(self.samples)
        ]
        return {"mean_nats": means, "nats": self.rows()}


@torch.no_grad()
def monte_carlo(
    model: LatentModel,
    x_0: Tensor,
    *,
    samples: int = 100_000,
    seed: int = 0,
    chunk: int = CHUNK,
    progress: Callable[[int, int], None] | None = None,
) -> MonteCarloReport:
    """Estimate log p(x) of data x_0 (B, ...) in three ways, at S = 1, 10, 100, ... and at S = `samples`.

    Each draw of the prior is decoded once and scores every image: the images' plain estimates share their draws, which
    leaves each of them as it would be alone. A draw of q(z|x) serves its own image only, so `samples` * (B + 1) draws
    are decoded. No more than `chunk` of them are held at once, whatever `samples` is.

    Args:
        progress: called with (samples done, samples in all).

    Raises:
        ConfigurationError: less than one sample.
    """
    if samples < 1:
        raise ConfigurationError(f"--samples must be at least 1, got {samples}.")
    generator = torch.Generator().manual_seed(derived_seed(seed, MONTE_CARLO))
    q, exact = model.posterior(x_0), x_0.double()
    kl = sum_dims(kl_divergence(q, model.prior)).double()
    plain, importance = _LogMean(len(x_0)), _LogMean(len(x_0))
    reconstruction, rows = torch.zeros(len(x_0), dtype=torch.float64), []
    reported = _reported(samples)
    for start, end in _chunks(reported, chunk):
        num = end - start
        shared = model.likelihood(model.prior.sample(generator, (num, *model.prior.mean.shape)))
        plain.add(torch.stack([sum_dims(shared.log_prob(x[None])) for x in exact]))
        given, weights = zip(
            *(
                _weighed(model, DiagonalGaussian(q.mean[i], q.variance[i]), x[None], num, generator)
                for i, x in enumerate(exact)
            ),
            strict=True,
        )
        importance.add(torch.stack(weights))
        reconstruction += torch.stack(given).sum(1).cpu()
        if end in reported:
            rows.append((plain.value, importance.value, reconstruction / end - kl.cpu()))
        if progress is not None:
            progress(end, samples)
    return MonteCarloReport(reported, *(torch.stack(column) for column in zip(*rows, strict=True)))


def _weighed(
    model: LatentModel, q: DiagonalGaussian, x: Tensor, num: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(num,) log p(x|z) and (num,) log p(x|z) p(z) / q(z|x) of draws of one image's q(z|x)."""
    z = q.sample(generator, (num, *q.mean.shape))
    given = sum_dims(model.likelihood(z).log_prob(x)).double()
    return given, given + sum_dims(model.prior.log_prob(z) - q.log_prob(z)).double()


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
