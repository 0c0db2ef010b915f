"""How to measure the bound of images, as one record that checks itself. No torch is imported here."""

from dataclasses import dataclass
from typing import Annotated, Any

from nelbo.options import Doc, check_whole
from nelbo.runs.sampling_options import VARIANCES


@dataclass(frozen=True)
class BoundOptions:
    """How to measure the bound of a diffusion model.

    Raises:
        ConfigurationError: a number that is not whole, or too small. The model checks the others.
    """

    steps_per_image: Annotated[int | None, Doc("Number of time steps to evaluate per image; None means all.")] = 8
    steps: Annotated[int | None, Doc("Evaluate the model with this many reverse steps instead of all.")] = None
    variance: Annotated[str | None, Doc(f"Variance of the reverse process: {VARIANCES}")] = None
    clip: Annotated[bool, Doc("Clip the predicted image to the range of the data.")] = False
    seed: Annotated[int, Doc("Random seed.")] = 0
    batch_size: Annotated[int, Doc("Images per pass through the network.")] = 64

    def __post_init__(self) -> None:
        check_whole("batch_size", self.batch_size)
        check_whole("seed", self.seed, None)
        if self.steps_per_image is not None:
            check_whole("steps_per_image", self.steps_per_image)

    @property
    def of_the_chain(self) -> dict[str, Any]:
        """The options of the reverse process, as `DiffusionModel.reverse` takes them."""
        return {"steps": self.steps, "variance": self.variance, "clip": self.clip}

    @property
    def of_the_draws(self) -> dict[str, Any]:
        """The options of the draws, as `nelbo.evaluation.measure_bound` takes them."""
        return {"steps_per_image": self.steps_per_image, "seed": self.seed, "batch_size": self.batch_size}
