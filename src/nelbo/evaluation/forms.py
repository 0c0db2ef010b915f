"""Several estimators of one bound: the ratio of eq. 3, the KL terms of eq. 5, and eq. 16 if the data is known."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from nelbo.condition import observed_of
from nelbo.data import ImageDataset
from nelbo.diffusion import KnownBound, ReverseProcess, VariationalBound, bits_per_dim, num_dims
from nelbo.display import Displayed, Frame, counted, data_frame
from nelbo.errors import ConfigurationError, DataError, option
from nelbo.evaluation.conditions import condition_of
from nelbo.options import check_whole
from nelbo.probability import Mixture, categorical_entropy, levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import FORMS, derived_seed


@dataclass(frozen=True)
class FormEstimate:
    """The result of one estimator on a set of images.

    Attributes:
        bits_per_dim: the mean over images and draws.
        variance: variance of a single draw for a given image, in (bits/dim)^2, averaged over the images.
    """

    bits_per_dim: float
    variance: float


@dataclass(frozen=True)
class FormsReport(Displayed):
    """The results of the estimators on the same images.

    Attributes:
        ratio: eq. 3, log p_theta(x_{t-1}|x_t) / q(x_t|x_{t-1}) along whole paths.
        divergence: eq. 5, a KL at each t.
        standard_error: of the difference of these two means, from the draws alone, because the images are the same.
        num_images: number of images.
        draws: draws per image and estimator; each takes T calls of the network.
        known: eq. 16, with these images as the whole distribution of the data, or None.
        entropy: H(x_0) of that distribution in bits/dim, which `known` includes, or None.
        seed: of the draws.
    """

    ratio: FormEstimate
    divergence: FormEstimate
    standard_error: float
    num_images: int
    draws: int
    known: FormEstimate | None = None
    entropy: float | None = None
    seed: int | None = None

    def summary(self) -> Mapping[str, str]:
        """Return the mean and the variance of each form."""
        rows = {
            name: f"{form.bits_per_dim:.4f} bits/dim, variance of a draw {form.variance:.3g}"
            for name, form in self.forms.items()
        }
        images, draws = counted(self.num_images, "image"), counted(self.draws, "draw")
        return {**rows, "draws": f"{images}, {draws} each, seed {self.seed}; z = {self.z:.2f} between eq. 3 and eq. 5"}

    def to_pandas(self) -> Frame:
        """Return the estimates as a data frame of pandas: one row for each form.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame([{"form": name, **asdict(form)} for name, form in self.forms.items()])

    @property
    def forms(self) -> Mapping[str, FormEstimate]:
        """The estimates by the number of their equation."""
        forms = {"eq. 3": self.ratio, "eq. 5": self.divergence}
        return forms if self.known is None else {**forms, "eq. 16": self.known}

    @property
    def z(self) -> float:
        """Difference of the means of eq. 3 and eq. 5, in standard errors."""
        return (self.ratio.bits_per_dim - self.divergence.bits_per_dim) / self.standard_error

    @property
    def known_z(self) -> float | None:
        """Difference of the means of eq. 16 and eq. 5, in standard errors of that difference; None without eq. 16."""
        if self.known is None:
            return None
        error = math.sqrt((self.known.variance + self.divergence.variance) / (self.num_images * self.draws))
        return (self.known.bits_per_dim - self.divergence.bits_per_dim) / error

    @property
    def variance_ratio(self) -> float:
        """Variance of the draws of eq. 3 over that of eq. 5: below 1 for a nearly exact model."""
        return self.ratio.variance / self.divergence.variance


@torch.no_grad()
def compare_forms(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    labels: Tensor | None = None,
    known: bool = False,
    draws: int = 2,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> FormsReport:
    """Draw every form of the bound for every image, each with its own noise.

    Args:
        labels: (N,) class of each image for a conditional network, negative for none.
        known: treat the images as the whole distribution of the data, and draw eq. 16 as well.
        draws: draws per image and form, at least 2.
        progress: called with (draws done, draws in total), counted over all images.

    Raises:
        DataError: there are no images.
        ConfigurationError: fewer than 2 draws, which have no variance; or labels with eq. 16, which is the bound of
            p(x_0).
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to compare the forms on.")
    check_whole("batch_size", batch_size)
    check_whole("draws", draws, None)
    if draws < 2:
        raise ConfigurationError(f"{option('draws')} must be at least 2, got {draws}: a single draw has no variance.")
    if known and (
        labels is not None or condition_of(images, torch.arange(1), None, reverse.schedule.device) is not None
    ):
        raise ConfigurationError(
            "eq. 16 is the bound of p(x_0) here; compare the forms without labels, other conditions and missing pixels."
        )
    device, generator = reverse.schedule.device, torch.Generator().manual_seed(derived_seed(seed, FORMS))
    bound, by_16 = VariationalBound(reverse), None
    if known:
        everything = levels_to_data(images.images(range(len(images))), reverse.levels).to(device)
        by_16 = KnownBound(reverse, Mixture.of_points(everything))
    rows: list[Tensor] = []
    for start in range(0, len(images), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(images)))
        x_0 = levels_to_data(images.images(chosen), reverse.levels).to(device)
        label = condition_of(images, chosen, labels, device)
        drawn = []
        dims = num_dims(x_0.double(), observed_of(label))
        for draw in range(draws):
            forms = [bound.ratio(x_0, generator, label), bound.terms(x_0, generator, label).total]
            if by_16 is not None:
                forms.append(by_16.terms(x_0, generator).total)
            drawn.append(torch.stack([form.double() for form in forms], 1))
            if progress is not None:
                progress(start * draws + len(chosen) * (draw + 1), len(images) * draws)
        per_image = dims.view(-1, 1, 1) if isinstance(dims, torch.Tensor) else dims
        rows.append(bits_per_dim(torch.stack(drawn, 1), per_image).cpu())
    bits = torch.cat(rows)  # (N, draws, forms)
    means, variances = bits.mean((0, 1)).tolist(), bits.var(1).mean(0).tolist()
    ratio, divergence, *third = (FormEstimate(*pair) for pair in zip(means, variances, strict=True))
    error = math.sqrt((ratio.variance + divergence.variance) / (len(images) * draws))
    report = FormsReport(ratio, divergence, error, len(images), draws, seed=seed)
    if by_16 is None:
        return report
    entropy = bits_per_dim(categorical_entropy(by_16.data.weights), math.prod(images.shape))
    return replace(report, known=third[0], entropy=float(entropy))
