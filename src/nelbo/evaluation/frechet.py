"""How far generated images lie from real ones in the features of a network: the Frechet distance and its kin.

The distances are those of torchmetrics, from the extra `nelbo[metrics]`; it is imported when one is asked for.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.data import ImageDataset
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.randomness import BOOTSTRAP, derived_seed

CONFIDENCE, RESAMPLES, FEWEST_RESAMPLES = 0.95, 200, 20
KERNEL_SUBSETS, KERNEL_IMAGES = 50, 1000

Images = Tensor | ImageDataset  # uint8 (N, C, H, W)
Stage = Callable[[str, int, int], None]  # (name, done, total)


@dataclass(frozen=True)
class FeatureModule:
    """A network that looks at images for a distance: the figure means nothing without it.

    Attributes:
        name: of the features, for reports.
        num_features: D.
        fn: uint8 images (B, C, H, W) -> features (B, D).
        accuracy: share of held-out images that the classifier behind the features names rightly; None where there is
            no such measurement.
        description: what the network is, in words.
    """

    name: str
    num_features: int
    fn: Callable[[Tensor], Tensor]
    accuracy: float | None
    description: str


@dataclass(frozen=True)
class FrechetReport:
    """A Frechet distance with everything that it depends on; `str` is the figure as it should be quoted.

    A distance of few images is too high on average, and a resampled one too high twice. So the interval is the spread
    of the resampled distances about their own mean, laid around `distance`: it is for the mean of this figure over
    other images of the same numbers, and too wide where the distance is little but bias (of Gaussians, at 300 images
    and 32 features, it holds that mean 96 to 100 times in 100). `bias` is by how much the mean of the resampled
    distances exceeds `distance`, and so about by how much that exceeds the distance of infinitely many images.

    Attributes:
        distance: squared, as is the custom: ||m1 - m2||^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the features.
        low, high: the bootstrap interval of `confidence`.
        bias, bias_error: by how much finite numbers of images raise the distance, estimated by the bootstrap, and the
            standard error of that for a finite number of resamples.
        kernel, kernel_spread: the squared kernel distance (KID: cubic kernel), which is not biased; mean and standard
            deviation over subsets of `kernel_images` images each.
        num_generated, num_reference: how many images were compared.
        split: what the reference images are.
        features, num_features, accuracy, description: of the `FeatureModule`.
        resamples, seed: of the bootstrap.
    """

    distance: float
    low: float
    high: float
    confidence: float
    bias: float
    bias_error: float
    kernel: float
    kernel_spread: float
    kernel_images: int
    num_generated: int
    num_reference: int
    split: str
    features: str
    num_features: int
    accuracy: float | None
    description: str
    resamples: int
    seed: int

    @property
    def warning(self) -> str | None:
        """What keeps the figure from being trusted, or None."""
        fewest = min(self.num_generated, self.num_reference)
        if fewest > self.num_features:
            return None
        return (
            f"{fewest} images are too few for {self.num_features} features: their covariance is singular; take more "
            "images, or features of fewer dimensions"
        )

    def __str__(self) -> str:
        measured = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%} on held-out images"
        lines = [
            f"Frechet distance {self.distance:.4g} ({self.confidence:.0%} interval {self.low:.4g} .. {self.high:.4g}, "
            f"{self.resamples} resamples)",
            f"finite numbers of images raise it by about {self.bias:.2g} +- {self.bias_error:.1g}: compare figures of "
            "equal numbers only",
            f"kernel distance {self.kernel:.4g} +- {self.kernel_spread:.2g} in subsets of {self.kernel_images} images",
            f"{self.num_generated:,} generated images against {self.num_reference:,} {self.split}",
            f"features {self.features}: {self.num_features} of {self.description}{measured}",
        ]
        return "\n".join(lines + ([f"warning: {self.warning}"] if self.warning else []))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "warning": self.warning}


def require_torchmetrics() -> None:
    """Check that a distance can be computed here, before the images for it are made.

    Raises:
        ConfigurationError: torchmetrics is not installed.
    """
    if find_spec("torchmetrics") is None:
        raise ConfigurationError(
            "the Frechet distance needs the package torchmetrics; install it by `pip install 'nelbo[metrics]'`."
        )


def require_comparison(num_generated: int, num_reference: int, features: FeatureModule, resamples: int) -> None:
    """Check that a distance between so many images can be computed here, before they are made.

    Raises:
        ConfigurationError: torchmetrics is not installed, or fewer than 20 resamples.
        DataError: fewer than two images in a set.
    """
    require_torchmetrics()
    if resamples < FEWEST_RESAMPLES:
        raise ConfigurationError(f"--resamples must be at least {FEWEST_RESAMPLES}, got {resamples}.")
    for what, number in (("generated", num_generated), ("reference", num_reference)):
        if number < 2:
            raise DataError(
                f"{number} {what} image(s) have no covariance; a distance takes two, and means "
                f"something from some {10 * features.num_features} on."
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
    progress: Stage = lambda name, done, total: None,
) -> FrechetReport:
    """The Frechet distance between two sets of images (uint8, N x C x H x W, or data sets), in float64.

    Args:
        split: what the reference images are, such as "held-out images of digits".
        resamples: of the features of either set, with replacement, for the interval; at least 20. Each takes the
            eigenvalues of a D x D matrix: milliseconds for 64 features, many seconds for the 2,048 of Inception.
        progress: called with what is done (features, resamples), how many of them, and how many in all.

    Raises:
        ConfigurationError: torchmetrics is not installed, or fewer resamples.
        DataError: fewer than two images in a set, or features that are not finite.
        ShapeError: features of another shape than `features` promises.
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
    )


@torch.no_grad()
def features_of(
    images: Images,
    features: FeatureModule,
    batch_size: int = 256,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """What the network sees in each image: float64 (N, D), on the processor.

    Raises:
        ShapeError: the network puts out another shape than promised.
        DataError: features that are not finite.
    """
    rows = []
    for some in torch.arange(len(images)).split(batch_size):
        row = features.fn(images[some] if isinstance(images, Tensor) else images.images(some))
        if row.shape != (len(some), features.num_features):
            raise ShapeError(
                f"{features.name} put out {tuple(row.shape)} for {len(some)} images; expected "
                f"({len(some)}, {features.num_features}): a vector of features an image."
            )
        rows.append(row.double().cpu())
        progress(int(some[-1]) + 1, len(images))
    found = torch.cat(rows)
    if not bool(found.isfinite().all()):
        raise DataError(f"some features of {features.name} are not finite, so there is no distance between them.")
    return found


class GivenFeatures(nn.Module):
    """The identity, as a feature module of torchmetrics: its images are then features that are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        """(N, D), as it came."""
        return features


class FrechetMeasure:
    """torchmetrics' Frechet distance between features (N, D) of two sets, in float64."""

    def __init__(self, num_features: int) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        self.metric = FrechetInceptionDistance(feature=GivenFeatures(num_features)).set_dtype(torch.float64)

    def __call__(self, generated: Tensor, reference: Tensor) -> float:
        """The squared distance; never below 0, though rounding may leave it there."""
        self.metric.reset()
        self.metric.update(reference, real=True)
        self.metric.update(generated, real=False)
        return max(float(self.metric.compute()), 0.0)


@dataclass(frozen=True)
class KernelDistance:
    """The squared kernel distance: mean and standard deviation over subsets of so many images."""

    mean: float
    spread: float
    subset: int


def kernel_distance(generated: Tensor, reference: Tensor, seed: int) -> KernelDistance:
    """torchmetrics' kernel distance (KID) between features (N, D) of two sets, over halves or 1,000 of their images."""
    from torchmetrics.image.kid import KernelInceptionDistance

    subset = max(min(len(generated) // 2, len(reference) // 2, KERNEL_IMAGES), 2)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # it warns that it keeps the features, which are kept already
        metric = KernelInceptionDistance(
            feature=GivenFeatures(generated.shape[1]), subsets=KERNEL_SUBSETS, subset_size=subset
        ).set_dtype(torch.float64)
        metric.update(reference, real=True)
        metric.update(generated, real=False)
        torch.default_generator.manual_seed(seed)  # of its choice of subsets; restored behind this block
        mean, spread = metric.compute()
    return KernelDistance(float(mean), float(spread), subset)


def _resampled(rows: Tensor, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (len(rows),), generator=generator)]
