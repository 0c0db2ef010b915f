"""What a diffusion model measures: its bound, scores and likelihood, and its calibration."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from torch import Tensor, nn

from nelbo.condition import Condition
from nelbo.data import Beside, ImageDataset, Images, Single
from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.errors import RunError
from nelbo.evaluation import (
    BoundReport,
    FormsReport,
    HeatMap,
    LikelihoodReport,
    calibrate,
    compare_forms,
    draws_after,
    evaluate_bound,
    evaluate_heat_map,
    evaluate_likelihood,
    expected_terms,
)
from nelbo.networks import PixelNetwork
from nelbo.options import check_whole
from nelbo.progress import Progress, reported
from nelbo.randomness import chosen_seed
from nelbo.recipes.assembly import build_schedule
from nelbo.recipes.recipe import Recipe
from nelbo.runs.codec_plan import PLAN_FILE
from nelbo.runs.conditions import with_beside
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

    def beside(
        self, images: Images, *, mask: Any = None, table: Any = None, condition_images: Any = None
    ) -> ImageDataset:
        """Return images with what lies beside them, for `bound`, `score` and the other numbers of this run.

        Args:
            mask: as in memory in `nelbo.data.Beside`, like the following ones.
            table: numbers (N, V), in the units and the order of the training table.

        Raises:
            DataError: another number of entries than images; or `ShapeError`: other shapes.
        """
        return with_beside(self.dataset_of(images), self.config.data, Beside(mask, table, condition_images))

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
        What lies `beside` the images conditions it, and it counts observed pixels only.

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
        reverse = self.reverse(steps=steps, variance=variance, clip=clip)
        options: dict[str, Any] = {"steps_per_image": steps_per_image, "seed": seed, "batch_size": batch_size}
        with reported(progress, "scoring") as report:
            return self._measured(reverse, dataset, progress=report, **options)

    def _measured(self, reverse: ReverseProcess, images: ImageDataset, **options: Any) -> BoundReport:
        """Evaluate the bound, with values of t drawn by the calibration if there is one."""
        proposal = None if self.mse is None else expected_terms(reverse, self.mse)
        return evaluate_bound(reverse, images, proposal=proposal, **options)

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
        image: Single | ImageDataset,
        *,
        seed: int | None = 0,
        steps_per_image: int | None = 32,
        progress: Progress | bool | None = None,
    ) -> HeatMap:
        """Return the bits of each pixel of an image (C, H, W), or of the first of a set; their mean is its `score`.

        Raises:
            RunError: the decoder is not trained yet.
            ShapeError: an image of another shape than the model's.
        """
        self.require_decoder()
        if steps_per_image is not None:
            check_whole("steps_per_image", steps_per_image)
        dataset = self.dataset_of(image if isinstance(image, ImageDataset) else [image])
        [pixels], seed, reverse = dataset.images([0]), chosen_seed(seed), self.reverse()
        proposal = None if self.mse is None else expected_terms(reverse, self.mse)
        options: dict[str, Any] = {"steps_per_image": steps_per_image, "proposal": proposal, "seed": seed}
        with reported(progress, "scoring") as report:
            condition = replace(Condition.of(dataset.condition([0])), label=None)
            return evaluate_heat_map(reverse, pixels, condition=condition, progress=report, **options)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound from few values of t; without L_0 if the pixel network of the decoder is not trained."""
        report = self._measured(self.reverse(), self.dataset_of(images), steps_per_image=GLANCE_STEPS)
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
