"""What a diffusion model measures: its bound, scores and likelihood, and its calibration."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from torch import Tensor, nn

from nelbo.data import ImageDataset, Images, Single
from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.errors import RunError
from nelbo.evaluation import (
    BoundReport,
    BoundSums,
    FormsReport,
    HeatMap,
    LikelihoodReport,
    MeasuredBound,
    calibrate,
    compare_forms,
    draws_after,
    evaluate_heat_map,
    evaluate_likelihood,
    expected_terms,
    measure_bound,
    num_strata,
)
from nelbo.networks import PixelNetwork
from nelbo.options import check_whole
from nelbo.progress import Progress, reported
from nelbo.randomness import chosen_seed
from nelbo.recipes.assembly import build_schedule
from nelbo.recipes.recipe import Recipe
from nelbo.runs.bound_options import BoundOptions
from nelbo.runs.codec_plan import PLAN_FILE
from nelbo.runs.decoder import load_pixels, pixel_tensors
from nelbo.runs.diffusion_model import CALIBRATION, DiffusionModel, calibration_of
from nelbo.runs.folder import RunConfig, why_no_decoder
from nelbo.runs.integer_model import INTEGER_FILE
from nelbo.runs.run import Run, held_out_record

GLANCE_STEPS = 4


@dataclass
class MeasuredDiffusion(Run):
    """A trained diffusion model with what it takes to score images; `DiffusionRun` adds samples and files.

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

    def state(self) -> list[str]:
        """Return in words how far the model is trained, calibrated and ready to compress."""
        plan = "has a codec plan" if (self.folder / PLAN_FILE).is_file() else "no codec plan"
        integers = ["has an integer model"] if (self.folder / INTEGER_FILE).is_file() else []
        decoder = ["decoder not trained"] if self.model.lacks_decoder else []
        return [*super().state(), *decoder, "calibrated" if self.calibrated else "not calibrated", plan, *integers]

    def require_decoder(self) -> None:
        """Check that the pixel network of the decoder is trained, if the recipe has one: see `Run.require_decoder`."""
        if self.model.lacks_decoder:
            raise RunError(f"{why_no_decoder(self.folder, self.config.data)}.")

    def reverse(self, **options: Any) -> ReverseProcess:
        """Return p_theta of this model; `options` are those of `DiffusionModel.reverse`."""
        return self.model.reverse(**options)

    def bound(
        self,
        images: Images,
        *,
        steps_per_image: int | None = 8,
        steps: int | None = None,
        variance: str | None = None,
        clip: bool = False,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> BoundReport:
        """Compute the bound over images of any kind that `nelbo.data.as_dataset` takes: every term in bits/dim, eq. 5.

        It is the bound of p(x_0): here and in every other number of a run, a class-conditional network gets no class.

        Args:
            steps_per_image: values of t evaluated for each image; None for every t.
            steps: evaluate a stride of this many steps instead of the full chain.
            seed: of the draws; None draws a fresh one and reports it: see `nelbo.randomness.chosen_seed`.
            progress: True for a progress bar, or a function that is called with (images done, images in all).

        Raises:
            ShapeError: images of another shape than the model's.
            RunError: the decoder is not trained yet.
        """
        self.require_decoder()
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        options = BoundOptions(steps_per_image, steps, variance, clip, seed, batch_size)
        with reported(progress, "scoring") as report:
            return self._bound(dataset, options, report)

    def _bound(self, images: ImageDataset, options: BoundOptions, progress: Progress | None = None) -> BoundReport:
        measured = self.measured(images, options, progress=progress)
        return self.report_of(measured.sums, measured.scores, options)

    def measured(
        self, images: ImageDataset, options: BoundOptions, *, first: int = 0, progress: Progress | None = None
    ) -> MeasuredBound:
        """Measure the terms of the bound of each image of a set, or of a part of it that begins at image `first`."""
        reverse = self.reverse(**options.of_the_chain)
        given: dict[str, Any] = {"proposal": self._proposal(reverse), "progress": progress, **options.of_the_draws}
        return measure_bound(reverse, images, first=first, **given)

    def report_of(self, sums: BoundSums, scores: Tensor, options: BoundOptions) -> BoundReport:
        """Return the report of a bound, from the sums over its parts and the score of each image (N,)."""
        reverse = self.reverse(**options.of_the_chain)
        strata = num_strata(options.steps_per_image, reverse.schedule.num_steps)
        return sums.report(reverse, scores, math.prod(self.shape), strata, options.seed)

    def _proposal(self, reverse: ReverseProcess) -> Tensor | None:
        """Return the weights of t: the terms that the calibration expects, or None for uniform."""
        return None if self.mse is None else expected_terms(reverse, self.mse)

    def forms(
        self,
        images: Images,
        *,
        known: bool = False,
        draws: int = 2,
        steps: int | None = None,
        variance: str | None = None,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> FormsReport:
        """Compare the form of eq. 3 with that of eq. 5 on the same images: 2 T network calls per draw.

        Args:
            known: add eq. 16, which takes the images as the whole distribution: 3 T calls.

        Raises:
            RunError: the decoder is not trained yet.
        """
        self.require_decoder()
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        with reported(progress, "comparing forms") as report:
            return compare_forms(
                self.reverse(steps=steps, variance=variance),
                dataset,
                known=known,
                draws=draws,
                seed=seed,
                batch_size=batch_size,
                progress=report,
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
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> LikelihoodReport:
        """Compute the likelihood by the probability-flow ODE, in bits/dim; see `evaluate_likelihood`.

        The variance is that of the decoder p(x_0|x_1) alone.

        Raises:
            RunError: the decoder is not trained yet.
        """
        self.require_decoder()
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        with reported(progress, "solving the ODE") as report:
            return evaluate_likelihood(
                self.reverse(variance=variance),
                dataset,
                tolerance=tolerance,
                probes=probes,
                exact=exact,
                draws=draws,
                seed=seed,
                batch_size=batch_size,
                progress=report,
            )

    def score(
        self,
        images: Images,
        *,
        seed: int | None = 0,
        steps_per_image: int | None = 32,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> Tensor:
        """Score each image: (N,) float64 bits/dim. A larger `steps_per_image` makes the scores less noisy."""
        options: dict[str, Any] = {"seed": seed, "batch_size": batch_size, "progress": progress}
        return self.bound(images, steps_per_image=steps_per_image, **options).scores

    def heat_map(
        self,
        image: Single,
        *,
        seed: int | None = 0,
        steps_per_image: int | None = 32,
        progress: Progress | bool | None = None,
    ) -> HeatMap:
        """Return the bits of each pixel of an image (C, H, W), whose mean is its score alone: see `score`.

        Raises:
            RunError: the decoder is not trained yet.
            ShapeError: an image of another shape than the model's.
        """
        self.require_decoder()
        if steps_per_image is not None:
            check_whole("steps_per_image", steps_per_image)
        [pixels], seed, reverse = self.dataset_of([image]).images([0]), chosen_seed(seed), self.reverse()
        options: dict[str, Any] = {"steps_per_image": steps_per_image, "proposal": self._proposal(reverse)}
        with reported(progress, "scoring") as report:
            return evaluate_heat_map(reverse, pixels, seed=seed, progress=report, **options)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound from few values of t; without L_0 if the pixel network of the decoder is not trained."""
        report = self._bound(self.dataset_of(images), BoundOptions(steps_per_image=GLANCE_STEPS))
        if self.model.lacks_decoder:
            return {"held_out_chain_bits_per_dim": round(report.chain, 4)}
        return held_out_record(report)

    def prepare(
        self, images: ImageDataset, num_examples: int | None = None, progress: Progress | bool | None = None
    ) -> None:
        """Calibrate a model that was not calibrated, and write the measurement into the run folder."""
        if self.mse is None:
            self.calibrate(images, **draws_after(num_examples, self.schedule.num_steps), progress=progress)
            self.save()

    def calibrate(
        self,
        images: Images,
        *,
        draws: int = 4096,
        times: int | None = None,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> None:
        """Measure mse_t on training images: bounds, samples and codes use the calibrated variance from then on.

        Args:
            draws: see `nelbo.evaluation.calibrate`.
            times: number of values of t to measure; None for all.
        """
        dataset, seed = self.dataset_of(images, batch_size), chosen_seed(seed)
        reverse = self.reverse(variance="trained")
        with reported(progress, "calibrating") as report:
            options: dict[str, Any] = {"draws": draws, "times": times, "seed": seed}
            options |= {"batch_size": batch_size, "progress": report}
            self.mse = calibrate(reverse, dataset, **options)

    def extras(self) -> dict[str, Tensor]:
        """Return the calibration and the network of the decoder."""
        calibration = {} if self.mse is None else {CALIBRATION: self.mse}
        return calibration | ({} if self.pixels is None else pixel_tensors(self.pixels))
