"""What every finished model can do, whatever its family."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from torch import Tensor, nn

from nelbo.data import ImageDataset, Images, as_dataset
from nelbo.errors import ConfigurationError, ShapeError, option
from nelbo.files import write_tensors
from nelbo.progress import Progress
from nelbo.runs.folder import MODEL_FILE, RunConfig

MOST_BYTES = 2**34  # of samples drawn at once


class Report(Protocol):
    """A bound over images in bits/dim, whatever its terms are. `scores` (N,) holds one value per image."""

    @property
    def total(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def scores(self) -> Tensor: ...
    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""


def held_out_record(report: Report) -> dict[str, float | None]:
    """Return the fields of a line of the metrics for a bound of held-out images."""
    error = None if math.isnan(report.standard_error) else round(report.standard_error, 4)
    return {"held_out_bits_per_dim": round(report.total, 4), "held_out_standard_error": error}


@dataclass
class Run(ABC):
    """A trained network with everything needed to sample it and to score images by its bound.

    Attributes:
        family: the name of the model family, a key of `nelbo.recipes.FAMILIES`.
        folder: the run folder that it was loaded from.
        config: its configuration.
        network: the averaged weights, in evaluation mode, float32.
    """

    family: ClassVar[str]

    folder: Path
    config: RunConfig
    network: nn.Module

    @classmethod
    @abstractmethod
    def of(cls, folder: Path, config: RunConfig, network: nn.Module, extras: dict[str, Tensor]) -> Self:
        """Build a run from its parts; `extras` are the tensors that `extras()` returned when it was saved."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.config.data.shape

    @property
    def levels(self) -> int:
        """K, the number of levels of a pixel."""
        return self.config.data.levels

    @property
    def calibrated(self) -> bool:
        """Whether `prepare` has measured what this family measures on training images."""
        return True

    @abstractmethod
    def sample(
        self,
        num: int,
        *,
        seed: int = 0,
        first: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
        **options: Any,
    ) -> Tensor:
        """Draw images first..first+num-1 of a seed: uint8 (num, C, H, W). Image i of a seed is always the same."""

    @abstractmethod
    def bound(self, images: Images, *args: Any, **options: Any) -> Report:
        """Compute the bound over images (uint8, N x C x H x W, or a data set), in bits/dim.

        Every family takes `seed`, `batch_size` and `progress`, and further options of its own.
        """

    def score(self, images: Images, *, seed: int = 0) -> Tensor:
        """Score each image by its bound: (N,) float64 bits/dim. A higher score is a more surprising image."""
        return self.bound(images, seed=seed).scores

    def draft(self, num: int, seed: int) -> Tensor:
        """Draw samples for a preview during training."""
        return self.sample(num, seed=seed)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound roughly, for a preview during training: fields of a line of the metrics."""
        return held_out_record(self.bound(images))

    def prepare(self, images: ImageDataset, progress: Progress | None = None) -> None:
        """Measure on training images what a finished model stores about itself. Some families have nothing."""
        return None

    def extras(self) -> dict[str, Tensor]:
        """Return the tensors that are saved beside the weights."""
        return {}

    def save(self) -> None:
        """Write model.safetensors: the weights and the extras."""
        save_model(self.folder, self.network, self.extras())

    def refuse_chain_options(self, options: Mapping[str, object]) -> None:
        """Refuse the options of a diffusion chain where the family has no chain; None counts as not given.

        Raises:
            ConfigurationError: the family has no chain, and an option was given.
        """
        return None

    def check_number(self, num: int, batch_size: int) -> None:
        """Check the number of images to draw.

        Raises:
            ConfigurationError: not a whole number, less than one, or too many for the memory.
        """
        for name, value in (("num", num), ("batch_size", batch_size)):
            if not _is_whole(value) or value < 1:
                raise ConfigurationError(f"{option(name)} must be a whole number, at least 1, got {value!r}.")
        if num * math.prod(self.shape) > MOST_BYTES:
            raise ConfigurationError(
                f"{option('num', num)}: images of {math.prod(self.shape)} bytes each would not fit into memory; draw "
                f"at most {MOST_BYTES // math.prod(self.shape)} at a time, each part with its own seed."
            )

    def dataset_of(self, images: Images, batch_size: int = 1, *, remedy: str = "resize them") -> ImageDataset:
        """Return images as a data set of this model's shape.

        Args:
            remedy: how the caller can convert images of another shape, for the message.

        Raises:
            ShapeError: images of another shape.
            DataError: another number of levels, or images that cannot be used.
            ConfigurationError: a batch size below 1.
        """
        if batch_size < 1:
            raise ConfigurationError(f"{option('batch_size')} must be at least 1, got {batch_size}.")
        dataset = as_dataset(images, self.shape, self.levels, self.config.data.range)
        dataset.require_levels(self.levels)
        if dataset.shape != self.shape:
            raise ShapeError(
                f"the images are {_by(dataset.shape)} (channels x height x width), and the model in {self.folder} "
                f"needs {_by(self.shape)}; {remedy}, or choose another model."
            )
        return dataset


def save_model(folder: Path, network: nn.Module, extras: dict[str, Tensor]) -> None:
    """Write the weights and the tensors stored beside them to model.safetensors."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    write_tensors(folder / MODEL_FILE, {**weights, **extras}, {})


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
