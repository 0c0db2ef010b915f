"""A finished diffusion model in its run folder: samples, bounds, restored images, files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import torch
from torch import Tensor, nn

from nelbo.codec import Decoded, ProgressiveCodec
from nelbo.data import ImageDataset, Images, Single, as_pixels
from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.evaluation import (
    BoundReport,
    FormsReport,
    LikelihoodReport,
    calibrate,
    compare_forms,
    evaluate_bound,
    evaluate_likelihood,
    expected_terms,
)
from nelbo.networks import PixelNetwork
from nelbo.options import options_from
from nelbo.progress import Progress
from nelbo.recipes.assembly import build_schedule
from nelbo.recipes.recipe import Recipe
from nelbo.restoration import Restoration
from nelbo.runs.codec_plan import load_codec
from nelbo.runs.decoder import load_pixels, pixel_tensors
from nelbo.runs.diffusion_model import CALIBRATION, DiffusionModel, calibration_of
from nelbo.runs.folder import RunConfig
from nelbo.runs.restore_options import RestoreOptions
from nelbo.runs.restoring import restore
from nelbo.runs.run import Run, held_out_record
from nelbo.runs.sampling import pixels_of
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.samplers import Sampler, Step
from nelbo.samplers.names import DEFAULT_SAMPLER

GLANCE_STEPS = 4


@dataclass
class DiffusionRun(Run):
    """A trained diffusion model with everything needed to sample, score and calibrate it.

    Attributes:
        schedule: the full schedule that it was trained on, on the network's device.
        mse: (T+1,) what calibration measured, or None.
        pixels: the network of the decoder p(x_0|x_1), or None for the Gaussian of eq. 13.
    """

    family: ClassVar[str] = "diffusion"

    schedule: NoiseSchedule
    mse: Tensor | None = None
    pixels: PixelNetwork | None = None

    @classmethod
    def of(cls, folder: Path, config: RunConfig, network: nn.Module, extras: dict[str, Tensor]) -> Self:
        """Build the run from its parts."""
        recipe, device = cast(Recipe, config.recipe), next(network.parameters()).device
        schedule = build_schedule(recipe.schedule).to(device)
        pixels = load_pixels(folder, recipe, config.data, extras, device)
        return cls(folder, config, network, schedule, calibration_of(folder, schedule, extras), pixels)

    @property
    def recipe(self) -> Recipe:
        """The recipe of the model."""
        return cast(Recipe, self.config.recipe)

    @property
    def model(self) -> DiffusionModel:
        """The model without its folder."""
        name = f"in {self.folder}"
        return DiffusionModel(self.network, self.schedule, self.recipe, self.config.data, self.mse, name, self.pixels)

    @property
    def calibrated(self) -> bool:
        """Whether the variance was measured, or is learned and needs no measurement."""
        return self.mse is not None or self.model.variance().learned

    def reverse(self, **options: Any) -> ReverseProcess:
        """Return p_theta of this model; `options` are those of `DiffusionModel.reverse`."""
        return self.model.reverse(**options)

    def sampler(self, sampler: str = DEFAULT_SAMPLER, **options: Any) -> Sampler:
        """Return a sampler by name, with the options of `SamplingOptions`.

        Raises:
            ConfigurationError: an unknown name, or an option that the sampler or the model does not support.
        """
        return self.model.sampler(SamplingOptions.of(sampler=sampler, **options))

    def trajectory(
        self,
        num: int,
        *,
        seed: int = 0,
        first: int = 0,
        label: int | str | Tensor | None = None,
        options: SamplingOptions | None = None,
        **changes: Any,
    ) -> Iterator[Step]:
        """Sample images first..first+num-1 of a seed as one batch, and yield every step; `label` as in `sample`."""
        self.check_number(num, 1)
        return self.model.trajectory(num, SamplingOptions.of(options, **changes), seed=seed, first=first, label=label)

    @torch.no_grad()
    def sample(
        self,
        num: int,
        *,
        seed: int = 0,
        first: int = 0,
        label: int | str | Tensor | None = None,
        batch_size: int = 64,
        progress: Progress | None = None,
        options: SamplingOptions | None = None,
        **changes: Any,
    ) -> Tensor:
        """Draw images: uint8 (num, C, H, W).

        Image i of a seed is the same whatever `num` and `batch_size` are (up to the rounding of a batched network).

        Args:
            first: number of the first image.
            label: the class by name or number, or "none"; by default drawn by its frequency in training. See
                `DiffusionModel.classes`.
            progress: called with (steps done, steps in all).
            options: how to sample.
            changes: fields of `SamplingOptions` that replace those of `options`: `steps=20`.

        Raises:
            ConfigurationError: an unknown option, or one that the sampler or the model does not support.
        """
        self.check_number(num, batch_size)
        chosen = SamplingOptions.of(options, **changes)
        classes, images = self.model.classes(label, num, seed=seed, first=first), list[Tensor]()
        steps, batches = self.model.sampler(chosen).reverse.schedule.num_steps, -(-num // batch_size)
        for batch, start in enumerate(range(0, num, batch_size)):
            size = min(batch_size, num - start)
            own = label if classes is None else classes[start : start + size]
            walk = self.model.trajectory(size, chosen, seed=seed, first=first + start, label=own)
            for done, step in enumerate(walk):
                last = step
                if progress is not None:
                    progress(batch * steps + min(done + 1, steps), batches * steps)
            images.append(pixels_of(last.x_0, self.levels))
        return torch.cat(images)

    def restore(self, image: Single, **options: Any) -> Restoration:
        """Draw what a damaged image (C, H, W) may have been, by the options of `RestoreOptions`."""
        chosen = options_from(RestoreOptions, options)
        self.check_number(chosen.num, chosen.batch_size)
        return restore(self.model, image, chosen)

    def bound(
        self,
        images: Images,
        *,
        steps_per_image: int | None = 8,
        steps: int | None = None,
        variance: str | None = None,
        clip: bool = False,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> BoundReport:
        """Compute the bound over images of any kind that `nelbo.data.as_dataset` takes: every term in bits/dim, eq. 5.

        It is the bound of p(x_0): here and in every other number of a run, a class-conditional network gets no class.

        Args:
            steps_per_image: values of t evaluated for each image; None for every t.
            steps: evaluate a stride of this many steps instead of the full chain.

        Raises:
            ShapeError: images of another shape than the model's.
        """
        dataset = self.dataset_of(images, batch_size)
        reverse = self.reverse(steps=steps, variance=variance, clip=clip)
        proposal = None if self.mse is None else expected_terms(reverse, self.mse)
        return evaluate_bound(
            reverse,
            dataset,
            steps_per_image=steps_per_image,
            proposal=proposal,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )

    def forms(
        self,
        images: Images,
        *,
        known: bool = False,
        draws: int = 2,
        steps: int | None = None,
        variance: str | None = None,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> FormsReport:
        """Compare the form of eq. 3 with that of eq. 5 on the same images: 2 T network calls per draw.

        Args:
            known: add eq. 16, which takes the images as the whole distribution: 3 T calls.
        """
        dataset = self.dataset_of(images, batch_size)
        return compare_forms(
            self.reverse(steps=steps, variance=variance),
            dataset,
            known=known,
            draws=draws,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )

    def likelihood(
        self,
        images: Images,
        *,
        tolerance: float = 0.01,
        probes: int = 1,
        exact: bool = False,
        draws: int = 1,
        variance: str | None = None,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> LikelihoodReport:
        """Compute the likelihood by the probability-flow ODE, in bits/dim; see `evaluate_likelihood`.

        The variance is that of the decoder p(x_0|x_1) alone.
        """
        dataset = self.dataset_of(images, batch_size)
        return evaluate_likelihood(
            self.reverse(variance=variance),
            dataset,
            tolerance=tolerance,
            probes=probes,
            exact=exact,
            draws=draws,
            seed=seed,
            batch_size=batch_size,
            progress=progress,
        )

    def score(self, images: Images, *, seed: int = 0, steps_per_image: int | None = 32) -> Tensor:
        """Score each image: (N,) float64 bits/dim. A larger `steps_per_image` makes the scores less noisy."""
        return self.bound(images, steps_per_image=steps_per_image, seed=seed).scores

    def codec(self, batch_size: int = 8) -> ProgressiveCodec:
        """Return Algorithms 3 and 4 for this model. The codec holds a float64 copy of the network: build it once.

        Raises:
            ConfigurationError: the codec plan has not been measured yet.
            RunError: the plan is damaged, or belongs to earlier weights.
        """
        return load_codec(self, batch_size)

    def compress(self, image: Single, *, effort: int = 5, lossless: bool = True) -> bytes:
        """Compress an image (C, H, W) uint8 of any size into a .nelbo file; see `ProgressiveCodec.encode`."""
        pixels = as_pixels(image, limits=self.config.data.range)
        return self.codec().encode([pixels], effort=effort, lossless=lossless)[0].to_bytes()

    def decompress(self, content: bytes, *, max_bytes: int | None = None) -> Decoded:
        """Decode a .nelbo file of this model, or a preview from its first bytes; see `ProgressiveCodec.decode`."""
        return self.codec().decode_bytes(content, max_bytes)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound from few values of t; without L_0 if the pixel network of the decoder is not trained."""
        report = self.bound(images, steps_per_image=GLANCE_STEPS)
        if self.recipe.decoder.kind == "pixels" and self.pixels is None:
            return {"held_out_chain_bits_per_dim": round(report.chain, 4)}
        return held_out_record(report)

    def prepare(self, images: ImageDataset, progress: Progress | None = None) -> None:
        """Calibrate, and write the measurement into the run folder."""
        self.calibrate(images, progress=progress)
        self.save()

    def calibrate(
        self, images: ImageDataset, *, draws: int = 4096, seed: int = 0, progress: Progress | None = None
    ) -> None:
        """Measure mse_t on training images: bounds, samples and codes use the calibrated variance from then on."""
        self.mse = calibrate(self.reverse(variance="trained"), images, draws=draws, seed=seed, progress=progress)

    def extras(self) -> dict[str, Tensor]:
        """Return the calibration and the network of the decoder."""
        calibration = {} if self.mse is None else {CALIBRATION: self.mse}
        return calibration | ({} if self.pixels is None else pixel_tensors(self.pixels))
