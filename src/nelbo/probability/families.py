"""Families of distributions over 0, 1, 2, ..., fitted to counts (K,) of the values 0..K-1 by maximum likelihood."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Binomial, Geometric, Poisson

from nelbo.errors import ConfigurationError, DataError
from nelbo.probability.categorical import categorical_entropy, categorical_kl


@dataclass(frozen=True)
class CountFit:
    """A distribution over 0, 1, 2, ..., as a table of 0..K-1 and the rest of the mass.

    Attributes:
        name: the name of the family, or of the table.
        parameters: the fitted parameters by name.
        probabilities: (K,) float64; they sum to 1 - `beyond`.
    """

    name: str
    parameters: dict[str, float]
    probabilities: Tensor

    @property
    def beyond(self) -> float:
        """The mass on values of K and above; 0 for a family that ends at K - 1."""
        return max(0.0, 1 - float(self.probabilities.sum()))

    def divergence(self, observed: Tensor) -> float:
        """Return KL(observed || this distribution), nats, for probabilities (K,).

        It is infinite if a value has probability 0 here but not in `observed`.
        """
        p = torch.cat([observed, observed.new_zeros(1)])
        q = torch.cat([self.probabilities, observed.new_tensor([self.beyond])])
        return float(categorical_kl(p, q / q.sum()))


def fit_uniform(counts: Tensor) -> CountFit:
    """Return the uniform distribution, 1 / K on each of 0..K-1. It has no parameter to fit."""
    num = len(counts)
    return CountFit("uniform", {"K": num}, torch.full((num,), 1 / num, dtype=torch.float64))


def fit_binomial(counts: Tensor) -> CountFit:
    """Fit a binomial of n = K - 1 trials; p = mean / n maximises the likelihood.

    Raises:
        DataError: the counts have only the value 0.
    """
    num = len(counts) - 1
    if num == 0:
        raise DataError("a binomial needs counts of at least the values 0 and 1, got counts of 0 only.")
    p = mean_of(counts) / num
    return CountFit("binomial", {"n": num, "p": p}, _table(Binomial(num, torch.tensor(p, dtype=torch.float64)), counts))


def fit_poisson(counts: Tensor) -> CountFit:
    """Fit a Poisson distribution; rate = mean maximises the likelihood."""
    rate = mean_of(counts)
    return CountFit("poisson", {"rate": rate}, _table(Poisson(torch.tensor(rate, dtype=torch.float64)), counts))


def fit_geometric(counts: Tensor) -> CountFit:
    """Fit a geometric distribution, (1 - p)^k p for k = 0, 1, ...; p = 1 / (1 + mean) maximises the likelihood."""
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
    """Return the shares (K,) of counts (K,) of 0..K-1, float64.

    Raises:
        DataError: the counts are empty or sum to 0.
        ConfigurationError: a count is negative or not finite.
    """
    if counts.ndim != 1 or len(counts) == 0 or float(counts.sum()) == 0:
        raise DataError(f"the counts of 0..K-1 must be one-dimensional with a sum above 0, got {counts.tolist()}.")
    if not bool((counts >= 0).all()) or not bool(counts.isfinite().all()):
        raise ConfigurationError(f"the counts must be finite and not negative, got {counts.tolist()}.")
    return counts.double() / counts.double().sum()


def mean_of(counts: Tensor) -> float:
    """Return the mean of the counted values."""
    return float((probabilities_of(counts) * torch.arange(len(counts))).sum())


def entropy_of(counts: Tensor) -> float:
    """Return the entropy of the shares, nats per value: the mean length of the best code for them."""
    return float(categorical_entropy(probabilities_of(counts)))


def _table(distribution: Binomial | Poisson | Geometric, counts: Tensor) -> Tensor:
    """Return the masses of 0..K-1, (K,) float64."""
    masses: Tensor = distribution.log_prob(torch.arange(len(counts), dtype=torch.float64)).exp()  # type: ignore[no-untyped-call]
    return masses
