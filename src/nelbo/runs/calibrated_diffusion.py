"""A finished diffusion model: its parts, read from its folder, and its calibration."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from torch import Tensor, nn

from nelbo.data import ImageDataset, Images
from nelbo.diffusion import LEARNED, NoiseSchedule, ReverseProcess
from nelbo.errors import RunError
from nelbo.evaluation import calibrate, draws_after
from nelbo.networks import PixelNetwork
from nelbo.progress import Progress, reported
from nelbo.randomness import chosen_seed
from nelbo.recipes.assembly import build_schedule
from nelbo.recipes.recipe import Recipe
from nelbo.refinement import Refinement, coarse
from nelbo.refinement.storage import tensors_of
from nelbo.runs.codec_plan import PLAN_FILE
from nelbo.runs.decoder import load_pixels, pixel_tensors
from nelbo.runs.diffusion_model import CALIBRATION, DiffusionModel, calibration_of
from nelbo.runs.folder import MODEL_FILE, RunConfig, why_no_decoder
from nelbo.runs.integer_model import INTEGER_FILE
from nelbo.runs.refinement import load_refinement
from nelbo.runs.run import Run


@dataclass
class CalibratedDiffusion(Run):
    """A trained diffusion model with its parts; `MeasuredDiffusion` adds what it measures.

    Attributes:
        schedule: the full schedule that it was trained on, on the network's device.
        mse: (T+1,) what calibration measured, or None.
        pixels: the network of the decoder p(x_0|x_1), or None for the Gaussian of eq. 13.
        refinement: of images of more than 256 levels, whose coarse levels the chain has; None for others.
    """

    family: ClassVar[str] = "diffusion"
    has_chain: ClassVar[bool] = True

    schedule: NoiseSchedule
    mse: Tensor | None = None
    pixels: PixelNetwork | None = None
    refinement: Refinement | None = None

    @classmethod
    def of(cls, folder: Path, config: RunConfig, network: nn.Module, extras: dict[str, Tensor]) -> Self:
        """Build the run from its parts."""
        recipe, device = cast(Recipe, config.recipe), next(network.parameters()).device
        if recipe.schedule.kind == "learned" and LEARNED not in extras:
            raise RunError(f"{folder / MODEL_FILE} lacks the learned schedule, {LEARNED}; train the model again.")
        schedule = build_schedule(recipe.schedule, extras.get(LEARNED)).to(device)
        pixels = load_pixels(folder, recipe, config.data, extras, device)
        refinement = load_refinement(folder, config.data.shape[0]) if config.data.num_levels > 256 else None
        return cls(folder, config, network, schedule, calibration_of(folder, schedule, extras), pixels, refinement)

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
        decoder = ["decoder not trained"] if self.lacks_decoder else []
        return [*super().state(), *decoder, "calibrated" if self.calibrated else "not calibrated", plan, *integers]

    @property
    def lacks_decoder(self) -> bool:
        """Whether the decoder p(x_0|x_1) has a network that is not trained yet: of pixels, or of fine levels."""
        return self.model.lacks_decoder or (self.levels > 256 and self.refinement is None)

    def require_decoder(self) -> None:
        """Check that every network of the decoder is trained, if there is one: see `Run.require_decoder`."""
        if self.lacks_decoder:
            raise RunError(f"{why_no_decoder(self.folder, self.config.data)}.")

    def reverse(self, **options: Any) -> ReverseProcess:
        """Return p_theta of this model; `options` are those of `DiffusionModel.reverse`."""
        return self.model.reverse(**options)

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
        dataset, seed = coarse(self.dataset_of(images, batch_size)), chosen_seed(seed)
        reverse = self.reverse(variance="trained")
        with reported(progress, "calibrating") as report:
            options: dict[str, Any] = {"draws": draws, "times": times, "seed": seed}
            options |= {"batch_size": batch_size, "progress": report}
            self.mse = calibrate(reverse, dataset, **options)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the model by name, with those of the refinement."""
        fine = {} if self.refinement is None else tensors_of(self.refinement)
        return super().tensors() | {f"refinement.{name}": tensor for name, tensor in fine.items()}

    def extras(self) -> dict[str, Tensor]:
        """Return the calibration, the network of the decoder, and a learned schedule."""
        calibration = {} if self.mse is None else {CALIBRATION: self.mse}
        if self.recipe.schedule.kind == "learned":
            calibration[LEARNED] = self.schedule.alphas_bar.cpu()
        return calibration | ({} if self.pixels is None else pixel_tensors(self.pixels))
