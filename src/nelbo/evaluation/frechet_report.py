"""The report of a Frechet distance: the figures, what they depend on, and when they are not reliable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nelbo.display import Displayed, Frame, data_frame

REMEDY = "take more images, or features of fewer dimensions"


@dataclass(frozen=True)
class FrechetReport(Displayed):
    """A Frechet distance and everything that it depends on; `str` gives all of it for a report.

    A finite number of images makes the distance too large on average, and resampling adds the same bias again.
    Therefore the interval is the spread of the resampled distances around their own mean, placed around `distance`. It
    is an interval for the mean distance over other sets of the same sizes, and too wide if the distance is mostly bias
    (for Gaussians with 300 images and 32 features, it contains that mean in 96 to 100 of 100 cases). `bias` is the mean
    of the resampled distances minus `distance`: an estimate of `distance` minus the distance of infinitely many images.

    Attributes:
        distance: squared, as usual: ||m1 - m2||^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) of the features.
        low, high: the bootstrap interval at `confidence`.
        bias, bias_error: bias of the distance from the finite numbers of images, estimated by the bootstrap, and the
            standard error of that estimate from the finite number of resamples; of no meaning where `warning` says that
            there are too few images.
        kernel, kernel_spread: the squared kernel distance (KID, cubic kernel), which is unbiased: mean and standard
            deviation over subsets of `kernel_images` images.
        num_generated, num_reference: number of images in each set.
        split: the reference images in words.
        features, num_features, accuracy, description, caution: from the `FeatureModule`.
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
    caution: str = ""

    @property
    def warning(self) -> str | None:
        """Why the distance is not reliable, or None."""
        return "; ".join(self._warnings()) or None

    def _warnings(self) -> list[str]:
        fewest, found = min(self.num_generated, self.num_reference), list[str]()
        if fewest <= self.num_features:
            found.append(
                f"{fewest} images are too few for {self.num_features} features: their covariance is singular; {REMEDY}"
            )
        elif not self._bias_is_meaningful:
            found.append(f"{fewest} images are too few to estimate the bias and the interval; {REMEDY}")
        return found + [self.caution] * bool(self.caution)

    @property
    def _bias_is_meaningful(self) -> bool:
        """Whether the bootstrap can estimate the bias: no covariance is singular, and the estimate is no decrease."""
        return min(self.num_generated, self.num_reference) > self.num_features and self.bias > -2 * self.bias_error

    def _rise(self) -> str:
        """Say how much the finite numbers of images raise the distance."""
        if not self._bias_is_meaningful:
            return "by an amount that so few images do not show"
        return f"by about {self.bias:.2g} +- {self.bias_error:.1g}"

    def summary(self) -> Mapping[str, str]:
        """Return the distances, what they depend on, and why they are not reliable."""
        measured = "" if self.accuracy is None else f", accuracy {self.accuracy:.1%} on held-out images"
        warning = {"warning": self.warning} if self.warning else {}
        return {
            "distance": f"{self.distance:.4g} ({self.confidence:.0%} interval {self.low:.4g} .. {self.high:.4g}, "
            f"{self.resamples} resamples)",
            "bias": f"finite numbers of images raise the distance {self._rise()}",
            "kernel": f"{self.kernel:.4g} +- {self.kernel_spread:.2g} in subsets of {self.kernel_images} images",
            "images": f"{self.num_generated:,} generated images against {self.num_reference:,} {self.split}",
            "features": f"{self.features}: {self.num_features} of {self.description}{measured}",
            **warning,
        }

    def __str__(self) -> str:
        rows = self.summary()
        lines = [
            f"Frechet distance {rows['distance']}",
            f"finite numbers of images raise it {self._rise()}: compare figures of equal numbers only",
            f"kernel distance {rows['kernel']}",
            rows["images"],
            f"features {rows['features']}",
        ]
        return "\n".join(lines + [f"warning: {each}" for each in self._warnings()])

    def to_pandas(self) -> Frame:
        """Return the report as a data frame of pandas: one row with the values of `to_json`, to join with others.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame([self.to_json()])

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "warning": self.warning}
