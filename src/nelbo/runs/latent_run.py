"""A finished latent diffusion model: its samples, its bound, and reconstructions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from nelbo.data import ImageDataset, Images, Takes, taken_by
from nelbo.diffusion import NoiseSchedule
from nelbo.errors import ConfigurationError, option
from nelbo.evaluation import calibrate, draws_after, expected_terms
from nelbo.evaluation.decision_options import SCORE_STEPS
from nelbo.latent import EncodedImages, LatentReport, LatentSpace, evaluate_latent
from nelbo.latent.storage import tensors_of
from nelbo.options import check_whole
from nelbo.progress import Progress, reported
from nelbo.randomness import chosen_seed
from nelbo.recipes.assembly import build_schedule
from nelbo.recipes.families import FAMILIES
from nelbo.recipes.latent_recipe import LatentRecipe
from nelbo.runs.classes import Label
from nelbo.runs.diffusion_model import CALIBRATION, calibration_of
from nelbo.runs.folder import RunConfig
from nelbo.runs.latent_model import LatentDiffusion
from nelbo.runs.latent_space import load_space
from nelbo.runs.reading import RESIZE
from nelbo.runs.run import Run, held_out_record
from nelbo.runs.sampling import pixels_of
from nelbo.runs.sampling_options import SamplingOptions

GLANCE_STEPS = 4
# Options of other families' chains, which this family does not support.
UNSUPPORTED = (
    "clip",
    "threshold",
    "threshold_max",
    "forms",
    "known",
    "ode",
    "heat_map",
    "vector",
    "condition_image",
    "mask",
)


@dataclass
class LatentRun(Run):
    """A trained latent diffusion model. Its samples show the mean of p(x|z) without noise, as those of a VAE.

    Attributes:
        network: of the diffusion model of the latents.
        schedule: the full schedule that it was trained on, on the network's device.
        space: the autoencoder, and the scale of its latents.
        mse: (T+1,) what calibration measured, or None.
    """

    family: ClassVar[str] = "latent"
    has_chain: ClassVar[bool] = True

    schedule: NoiseSchedule
    space: LatentSpace
    mse: Tensor | None = None

    @classmethod
    def of(cls, folder: Path, config: RunConfig, network: nn.Module, extras: dict[str, Tensor]) -> Self:
        """Build the run from its parts; the autoencoder is read from the folder.

        Raises:
            RunError: the autoencoder is missing or damaged.
        """
        device = next(network.parameters()).device
        schedule = build_schedule(cast(LatentRecipe, config.recipe).schedule).to(device)
        return cls(
            folder, config, network, schedule, load_space(folder).to(device), calibration_of(folder, schedule, extras)
        )

    @property
    def recipe(self) -> LatentRecipe:
        """The recipe of the model."""
        return cast(LatentRecipe, self.config.recipe)

    @property
    def model(self) -> LatentDiffusion:
        """The diffusion model of the scaled latents."""
        data = replace(self.config.data, shape=self.space.autoencoder.options.latent_shape)
        return LatentDiffusion(self.network, self.schedule, self.recipe, data, self.mse, f"in {self.folder}")

    @property
    def calibrated(self) -> bool:
        """Whether the variance was measured, or is learned and needs no measurement."""
        return self.mse is not None or self.model.variance().learned

    def summary(self) -> Mapping[str, str]:
        """Return the images, the model with its autoencoder, and how far it is trained."""
        rows, options = dict(super().summary()), self.space.autoencoder.options
        weights = sum(weight.numel() for weight in self.space.autoencoder.parameters())
        size = " x ".join(map(str, options.latent_shape))
        rows["autoencoder"] = f"{weights:,} weights, latents of {size} (L x h x w), {options.factor} pixels a side each"
        return rows

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        seed: int | None = 0,
        first: int = 0,
        label: Label | None = None,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
        options: SamplingOptions | None = None,
        **changes: Any,
    ) -> Tensor:
        """Draw z by the diffusion model and return the mean of p(x|z): uint8 (num, C, H, W).

        Image i of a seed is the same whatever `num` and `batch_size` are (up to the rounding of a batched network).

        Args:
            seed: a whole number; None draws a fresh one and reports it: see `nelbo.randomness.chosen_seed`.
            first: number of the first image.
            label: see `DiffusionRun.sample`.
            progress: True for a progress bar, or a function that is called with (steps done, steps in all).
            options: how to sample.
            changes: fields of `SamplingOptions` that replace those of `options`: `steps=20`.

        Raises:
            ConfigurationError: an option that the sampler or the model does not support.
        """
        self.check_number(num, batch_size, first)
        self.refuse_chain_options(changes)
        chosen, seed, model = SamplingOptions.of(options, **changes), chosen_seed(seed), self.model
        classes, images = model.classes(label, num, seed=seed, first=first), list[Tensor]()
        chosen = model.with_defaults(chosen, labelled=classes is not None)
        steps, batches = model.sampler(chosen).reverse.schedule.num_steps, -(-num // batch_size)
        with reported(progress, "sampling") as report:
            for batch, start in enumerate(range(0, num, batch_size)):
                size = min(batch_size, num - start)
                own = label if classes is None else classes[start : start + size]
                walk = model.trajectory(size, chosen, seed=seed, first=first + start, label=own)
                for done, step in enumerate(walk):
                    last = step
                    report(batch * steps + min(done + 1, steps), batches * steps)
                images.append(pixels_of(self.space.decode(last.x_0).mean, self.levels))
        return torch.cat(images)

    def dataset_of(self, images: Images, batch_size: int = 1, *, remedy: str = RESIZE) -> ImageDataset:
        """Return images as a data set of this model's shape; see `Run.dataset_of`.

        Raises:
            ConfigurationError: images with missing pixels, or with numbers or images to condition on.
        """
        dataset = super().dataset_of(images, batch_size, remedy=remedy)
        if taken_by(dataset) != Takes():
            raise ConfigurationError(
                "a latent diffusion model takes whole images alone; give them without missing pixels and without what "
                "lies beside them."
            )
        return dataset

    def bound(
        self,
        images: Images,
        *,
        draws: int = 2,
        steps_per_image: int | None = 8,
        steps: int | None = None,
        variance: str | None = None,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
        **options: Any,
    ) -> LatentReport:
        """Compute the bound on -log2 p(x) of pixels, in bits/dim; see `nelbo.latent.evaluate_latent`.

        It is the bound without a class, also of a class-conditional model.

        Args:
            draws: draws of z for each image.
            steps_per_image: values of t evaluated for each draw; None for every t.
            steps: evaluate a stride of this many steps instead of the full chain.
            variance: see `DiffusionModel.reverse`.

        Raises:
            ShapeError: images of another shape than the model's.
            ConfigurationError: an option that this family does not support.
        """
        self.refuse_chain_options(options)
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        reverse = self.model.reverse(steps=steps, variance=variance)
        proposal = None if self.mse is None else expected_terms(reverse, self.mse)
        with reported(progress, "scoring") as report:
            return evaluate_latent(
                self.space,
                reverse,
                dataset,
                draws=draws,
                steps_per_image=steps_per_image,
                proposal=proposal,
                seed=seed,
                batch_size=batch_size,
                progress=report,
            )

    def score(
        self,
        images: Images,
        *,
        seed: int | None = 0,
        steps_per_image: int | None = SCORE_STEPS,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> Tensor:
        """Score each image: (N,) float64 bits/dim. A larger `steps_per_image` makes the scores less noisy."""
        options: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "progress": progress}
        return self.bound(images, steps_per_image=steps_per_image, **options).scores

    @torch.no_grad()
    def reconstruct(self, images: Images, batch_size: int = 64) -> Tensor:
        """Reconstruct images through the mean of q(z|x): uint8 (N, C, H, W)."""
        dataset = self.dataset_of(images, batch_size)
        parts = torch.arange(len(dataset)).split(batch_size)
        shown = [self.space.reconstruct(self.space.data_of(dataset.images(part))) for part in parts]
        return pixels_of(torch.cat(shown), self.levels)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound from one draw of z and few values of t."""
        return held_out_record(self.bound(images, draws=1, steps_per_image=GLANCE_STEPS))

    def prepare(
        self, images: ImageDataset, num_examples: int | None = None, progress: Progress | bool | None = None
    ) -> None:
        """Calibrate a model that was not calibrated, and write the measurement into the run folder."""
        if self.mse is None:
            check_whole("num_examples", num_examples or 1)
            times, seed = draws_after(num_examples, self.schedule.num_steps), self.recipe.training.seed
            latents = EncodedImages(self.space, images, seed)
            with reported(progress, "calibrating") as report:
                options: dict[str, Any] = {**times, "seed": seed, "progress": report}
                self.mse = calibrate(self.model.reverse(variance="trained"), latents, **options)
            self.save()

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the model by name, with those of the autoencoder."""
        return super().tensors() | {f"autoencoder.{name}": tensor for name, tensor in tensors_of(self.space).items()}

    def extras(self) -> dict[str, Tensor]:
        """Return the calibration."""
        return {} if self.mse is None else {CALIBRATION: self.mse}

    def refuse_chain_options(self, options: Mapping[str, object]) -> None:
        """Refuse what needs the levels or the range of the chain's data: see `Run.refuse_chain_options`."""
        named = [option(name) for name in UNSUPPORTED if options.get(name) not in (None, False, ())]
        if named:
            raise ConfigurationError(
                f"{self.folder} is {FAMILIES[self.family].in_words}: its chain has latents in place of pixels; remove "
                f"{', '.join(named)}."
            )
