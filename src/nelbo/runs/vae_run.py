"""A finished variational autoencoder: its samples, its ELBO, and estimates of log p(x)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nelbo.data import ImageDataset, Images, Takes, taken_by
from nelbo.errors import ConfigurationError, option
from nelbo.options import check_whole
from nelbo.probability import levels_to_data
from nelbo.progress import Progress, reported
from nelbo.randomness import chosen_seed, image_generators, standard_normal
from nelbo.recipes.families import FAMILIES
from nelbo.runs.folder import RunConfig
from nelbo.runs.reading import RESIZE
from nelbo.runs.run import Run
from nelbo.runs.sampling import pixels_of
from nelbo.vae import VAE, ELBOReport, MonteCarloReport, busiest, evaluate_elbo, monte_carlo, traverse

WALK = torch.linspace(-3, 3, 13)  # in standard deviations of p(z)


@dataclass
class VAERun(Run):
    """A trained VAE. Its samples show the mean of p(x|z) without noise, as Algorithm 2 adds none at t = 1."""

    family: ClassVar[str] = "vae"

    network: VAE

    @classmethod
    def of(cls, folder: Path, config: RunConfig, network: nn.Module, extras: dict[str, Tensor]) -> Self:
        """Build the run from its parts; a VAE stores nothing beside its weights."""
        assert isinstance(network, VAE)
        return cls(folder, config, network)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        seed: int | None = 0,
        first: int = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
        **options: Any,
    ) -> Tensor:
        """Draw z from p(z) and return the mean of p(x|z): uint8 (num, C, H, W).

        Image i of a seed is the same whatever `num` and `batch_size` are (up to the rounding of a batched network).

        Args:
            seed: a whole number; None draws a fresh one and reports it: see `nelbo.randomness.chosen_seed`.
            first: number of the first image.
            progress: True for a progress bar, or a function that is called with (images done, images in all).

        Raises:
            ConfigurationError: an option that only a diffusion model has.
        """
        self.refuse_chain_options(options)
        self.check_number(num, batch_size, first)
        images, seed, prior = list[Tensor](), chosen_seed(seed), self.network.prior
        with reported(progress, "sampling") as report:
            for start in range(0, num, batch_size):
                size = min(batch_size, num - start)
                generators = image_generators(seed, first + start, size)
                z = standard_normal((size, *prior.mean.shape), generators, prior.mean)
                images.append(pixels_of(self.network.likelihood(z).mean, self.levels))
                report(start + size, num)
        return torch.cat(images)

    def dataset_of(self, images: Images, batch_size: int = 1, *, remedy: str = RESIZE) -> ImageDataset:
        """Return images as a data set of this model's shape; see `Run.dataset_of`.

        Raises:
            ConfigurationError: images with missing pixels, or with numbers or images to condition on.
        """
        dataset = super().dataset_of(images, batch_size, remedy=remedy)
        if taken_by(dataset) != Takes():
            raise ConfigurationError(
                "a VAE takes whole images alone; give them without missing pixels and without what lies beside them."
            )
        return dataset

    def bound(
        self,
        images: Images,
        *,
        draws: int = 4,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
        **options: Any,
    ) -> ELBOReport:
        """Compute the negative ELBO over images, in bits/dim: reconstruction, KL, and each image's score.

        Args:
            draws: draws of z for each image.

        Raises:
            ShapeError: images of another shape than the model's.
            ConfigurationError: an option that only a diffusion model has.
        """
        self.refuse_chain_options(options)
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        with reported(progress, "scoring") as report:
            return evaluate_elbo(self.network, dataset, draws=draws, seed=seed, batch_size=batch_size, progress=report)

    def log_likelihood(
        self,
        images: Images,
        *,
        samples: int = 100_000,
        fit: int = 0,
        seed: int | None = 0,
        progress: Progress | bool | None = None,
    ) -> MonteCarloReport:
        """Estimate log p(x), in nats per image, as the number of samples grows; see `monte_carlo`."""
        x_0, seed = self._data(images), chosen_seed(seed)
        with reported(progress, "drawing") as report:
            return monte_carlo(self.network, x_0, samples=samples, fit=fit, seed=seed, progress=report)

    @torch.no_grad()
    def reconstruct(self, images: Images) -> Tensor:
        """Reconstruct images through the mean of q(z|x): uint8 (N, C, H, W)."""
        z = self.network.posterior(self._data(images)).mean
        return pixels_of(self.network.likelihood(z).mean, self.levels)

    @torch.no_grad()
    def traversal(self, images: Images, dims: int = 10) -> Tensor:
        """Vary the first image along the dimensions of z that the images use most: uint8 (dims, 13, C, H, W)."""
        check_whole("dims", dims)
        x_0 = self._data(images)
        z = self.network.posterior(x_0[:1]).mean[0]
        return pixels_of(traverse(self.network, z, busiest(self.network, x_0, dims), WALK), self.levels)

    def _data(self, images: Images) -> Tensor:
        dataset = self.dataset_of(images)
        x_0 = levels_to_data(dataset.images(torch.arange(len(dataset))), self.levels)
        return x_0.to(self.network.log_stddev.device)

    def refuse_chain_options(self, options: Mapping[str, object]) -> None:
        """Refuse every option of a chain: see `Run.refuse_chain_options`."""
        named = [
            option(name, value) if value is False else option(name)
            for name, value in options.items()
            if value is not None
        ]
        if named:
            raise ConfigurationError(
                f"{self.folder} is {FAMILIES[self.family].in_words}: it has no chain of steps and no classes, and runs "
                f"in float32; remove {', '.join(named)}."
            )
