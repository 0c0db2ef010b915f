"""Families of distributions over 0, 1, 2, ..., fitted to counts by maximum likelihood."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Binomial, Geometric, Poisson

from nelbo.errors import ConfigurationError, DataError
from nelbo.probability.categorical import categorical_entropy, categorical_kl


@dataclass(frozen=True)
class CountFit:
    """A distribution over 0..K-1, and what of its mass lies beyond.

    Attributes:
        name: of the family, or of the table.
        parameters: what was fitted, by name.
        probabilities: (K,) float64; they sum to 1 - `beyond`.
    """

    name: str
    parameters: dict[str, float]
    probabilities: Tensor

    @property
    def beyond(self) -> float:
        """The mass on values of K and more: 0 for a family that ends at K - 1."""
        return max(0.0, 1 - float(self.probabilities.sum()))

    def divergence(self, observed: Tensor) -> float:
        """KL(observed || this), nats, of probabilities (K,); infinite where this is 0 and the observed is not."""
        p = torch.cat([observed, observed.new_zeros(1)])
        q = torch.cat([self.probabilities, observed.new_tensor([self.beyond])])
        return float(categorical_kl(p, q / q.sum()))


def fit_uniform(counts: Tensor) -> CountFit:
    """1 / K on each of 0..K-1: nothing to fit."""
    num = len(counts)
    return CountFit("uniform", {"K": num}, torch.full((num,), 1 / num, dtype=torch.float64))


def fit_binomial(counts: Tensor) -> CountFit:
    """n = K - 1 trials; p = mean / n is the maximum of the likelihood."""
    num = len(counts) - 1
    if num == 0:
        raise DataError("a binomial needs at least the values 0 and 1, and the counts have 0 only.")
    p = mean_of(counts) / num
    return CountFit("binomial", {"n": num, "p": p}, _table(Binomial(num, torch.tensor(p, dtype=torch.float64)), counts))


def fit_poisson(counts: Tensor) -> CountFit:
    """rate = mean."""
    rate = mean_of(counts)
    return CountFit("poisson", {"rate": rate}, _table(Poisson(torch.tensor(rate, dtype=torch.float64)), counts))


def fit_geometric(counts: Tensor) -> CountFit:
    """(1 - p)^k p over k = 0, 1, ...; p = 1 / (1 + mean)."""
    p = 1 / (1 + mean_of(counts))
    return CountFit(
        "geometric", {"p": p}, _table(Geometric(torch.tensor(p, dtype=torch.float64), validate_args=False), counts)
    )


FAMILIES: dict[str, Callable[[Tensor], CountFit]] = {
    "uniform": fit_uniform,
    "binomial": fit_binomial,
    "poisson": fit_poisson,
    "geometric": fit_geometric,
}


def probabilities_of(counts: Tensor) -> Tensor:
    """Counts (K,) of 0..K-1 -> their shares, float64.

    Raises:
        DataError: no counts, or none above 0.
        ConfigurationError: a negative or non-finite count.
    """
    if counts.ndim != 1 or len(counts) == 0 or float(counts.sum()) == 0:
        raise DataError(f"the counts of 0..K-1 must be a row with something counted, got {counts.tolist()}.")
    if not bool((counts >= 0).all()) or not bool(counts.isfinite().all()):
        raise ConfigurationError(f"counts are finite and not negative, got {counts.tolist()}.")
    return counts.double() / counts.double().sum()


def mean_of(counts: Tensor) -> float:
    """The mean value of what was counted."""
    return float((probabilities_of(counts) * torch.arange(len(counts))).sum())


def entropy_of(counts: Tensor) -> float:
    """H of the shares, nats: what a code made for them spends on each value."""
    return float(categorical_entropy(probabilities_of(counts)))


def _table(distribution: Binomial | Poisson | Geometric, counts: Tensor) -> Tensor:
    """(K,) the masses of 0..K-1."""
    masses: Tensor = distribution.log_prob(torch.arange(len(counts), dtype=torch.float64)).exp()  # type: ignore[no-untyped-call]
    return masses
