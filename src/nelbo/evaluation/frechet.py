"""Distances between generated and real images in the features of a network: Frechet distance and kernel distance.

torchmetrics computes both. It is in the extra `nelbo[metrics]` and is imported when a distance is computed.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from nelbo.data import ImageDataset
from nelbo.display import counted
from nelbo.errors import ConfigurationError, DataError, ShapeError, option
from nelbo.evaluation.frechet_report import FrechetReport as FrechetReport  # exported from here too
from nelbo.progress import Progress, StageProgress, no_stages
from nelbo.randomness import BOOTSTRAP, derived_seed

CONFIDENCE, RESAMPLES, FEWEST_RESAMPLES = 0.95, 200, 20
KERNEL_SUBSETS, KERNEL_IMAGES = 50, 1000

Images = Tensor | ImageDataset  # uint8 (N, C, H, W)


@dataclass(frozen=True)
class FeatureModule:
    """A network whose features a distance compares; distances through different networks cannot be compared.

    Attributes:
        name: name of the features, for reports.
        num_features: D.
        fn: uint8 images (B, C, H, W) -> features (B, D).
        accuracy: share of held-out images that the underlying classifier classifies correctly, 0..1; None if unknown.
        description: the network in words.
        caution: why the accuracy shows nothing, in words; "" if it is clearly above chance or unknown.
    """

    name: str
    num_features: int
    fn: Callable[[Tensor], Tensor]
    accuracy: float | None
    description: str
    caution: str = ""


def require_torchmetrics() -> None:
    """Check that torchmetrics is installed, before images are generated.

    Raises:
        ConfigurationError: torchmetrics is not installed.
    """
    if find_spec("torchmetrics") is None:
        raise ConfigurationError(
            "the Frechet distance needs the package torchmetrics; install it by `pip install 'nelbo[metrics]'`."
        )


def require_comparison(num_generated: int, num_reference: int, features: FeatureModule, resamples: int) -> None:
    """Check that a distance between sets of these sizes can be computed, before the images are generated.

    Raises:
        ConfigurationError: torchmetrics is not installed, or there are fewer than 20 resamples.
        DataError: a set has fewer than two images.
    """
    require_torchmetrics()
    if resamples < FEWEST_RESAMPLES:
        raise ConfigurationError(f"{option('resamples')} must be at least {FEWEST_RESAMPLES}, got {resamples}.")
    for what, number in (("generated", num_generated), ("reference", num_reference)):
        if number < 2:
            raise DataError(
                f"{counted(number, f'{what} image')} cannot have a covariance; a distance needs at least "
                f"two images, and about {10 * features.num_features} to be meaningful."
            )


def frechet_distance(
    generated: Images,
    reference: Images,
    features: FeatureModule,
    *,
    split: str,
    resamples: int = RESAMPLES,
    seed: int = 0,
    batch_size: int = 256,
    progress: StageProgress = no_stages,
) -> FrechetReport:
    """Compute the Frechet distance between two sets of images in float64.

    Args:
        generated: uint8 tensor (N, C, H, W) or data set.
        reference: uint8 tensor (N, C, H, W) or data set.
        features: the network whose features are compared.
        split: the reference images in words, such as "held-out images of digits".
        resamples: bootstrap samples of both sets for the interval, at least 20. Each one computes the eigenvalues of a
            D x D matrix: milliseconds for 64 features, many seconds for the 2,048 features of Inception.
        progress: called with the stage ("features", "resamples"), done and total.

    Raises:
        ConfigurationError: torchmetrics is not installed, or there are fewer than 20 resamples.
        DataError: a set has fewer than two images, or features are not finite.
        ShapeError: the network returns features of another shape than `features` declares.
    """
    require_comparison(len(generated), len(reference), features, resamples)
    ours = features_of(generated, features, batch_size, lambda done, total: progress("features", done, total))
    theirs = features_of(reference, features, batch_size, lambda done, total: progress("features", done, total))
    measure = FrechetMeasure(features.num_features)
    distance = measure(ours, theirs)
    draws = torch.empty(resamples, dtype=torch.float64)
    generator = torch.Generator().manual_seed(derived_seed(seed, BOOTSTRAP))
    for i in range(resamples):
        draws[i] = measure(_resampled(ours, generator), _resampled(theirs, generator))
        progress("resamples", i + 1, resamples)
    tail = (1 - CONFIDENCE) / 2
    below, above = (float(draws.quantile(q) - draws.mean()) for q in (tail, 1 - tail))
    kernel = kernel_distance(ours, theirs, derived_seed(seed, BOOTSTRAP, 1))
    return FrechetReport(
        distance,
        max(distance + below, 0.0),
        distance + above,
        CONFIDENCE,
        float(draws.mean()) - distance,
        float(draws.std()) / resamples**0.5,
        kernel.mean,
        kernel.spread,
        kernel.subset,
        len(ours),
        len(theirs),
        split,
        features.name,
        features.num_features,
        features.accuracy,
        features.description,
        resamples,
        seed,
        features.caution,
    )


@torch.no_grad()
def features_of(
    images: Images,
    features: FeatureModule,
    batch_size: int = 256,
    progress: Progress = lambda done, total: None,
) -> Tensor:
    """Return the features of each image: float64 (N, D), on the CPU.

    Raises:
        ShapeError: the network returns features of another shape than declared.
        DataError: features are not finite.
    """
    rows = []
    for some in torch.arange(len(images)).split(batch_size):
        row = features.fn(images[some] if isinstance(images, Tensor) else images.images(some))
        if row.shape != (len(some), features.num_features):
            raise ShapeError(
                f"{features.name} returned {tuple(row.shape)} for {len(some)} images; expected "
                f"({len(some)}, {features.num_features}): one vector of features per image."
            )
        rows.append(row.double().cpu())
        progress(int(some[-1]) + 1, len(images))
    found = torch.cat(rows)
    if not bool(found.isfinite().all()):
        raise DataError(f"some features of {features.name} are not finite, so no distance can be computed from them.")
    return found


class GivenFeatures(nn.Module):
    """The identity as a feature module of torchmetrics, which then takes features instead of images."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """Return the features (N, D) unchanged."""
        return features


class FrechetMeasure:
    """torchmetrics' Frechet distance between features (N, D) of two sets, in float64."""

    def __init__(self, num_features: int) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.metric = FrechetInceptionDistance(feature=GivenFeatures(num_features)).set_dtype(torch.float64)

    def __call__(self, generated: Tensor, reference: Tensor) -> float:
        """Return the squared distance; a value that rounding makes negative becomes 0."""
        self.metric.reset()
        self.metric.update(reference, real=True)
        self.metric.update(generated, real=False)
        return max(float(self.metric.compute()), 0.0)


@dataclass(frozen=True)
class KernelDistance:
    """The squared kernel distance: mean and standard deviation over subsets of `subset` images."""

    mean: float
    spread: float
    subset: int


def kernel_distance(generated: Tensor, reference: Tensor, seed: int) -> KernelDistance:
    """Compute torchmetrics' kernel distance (KID) between features (N, D) of two sets.

    The subsets have half as many images as the smaller set, at most 1,000 and at least 2.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    subset = max(min(len(generated) // 2, len(reference) // 2, KERNEL_IMAGES), 2)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # about the memory for the features, which are in memory anyway
        metric = KernelInceptionDistance(
            feature=GivenFeatures(generated.shape[1]), subsets=KERNEL_SUBSETS, subset_size=subset
        ).set_dtype(torch.float64)
        metric.update(reference, real=True)
        metric.update(generated, real=False)
        torch.default_generator.manual_seed(int(seed) % 2**64)  # for the subsets; fork_rng restores the state
        mean, spread = metric.compute()
    return KernelDistance(float(mean), float(spread), subset)


def _resampled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (len(rows),), generator=generator)]
