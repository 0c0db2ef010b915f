"""What finished models of every kind can do."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from nelbo.data import ArrayDataset, ImageDataset
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.files import write_tensors
from nelbo.runs.folder import MODEL_FILE, RunConfig

Progress = Callable[[int, int], None]
MOST_BYTES = 2**34  # of samples drawn at once


class Report(Protocol):
    """A bound over images, in bits/dim, whatever its terms are; `scores` (N,) are those of each image."""

    @property
    def total(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def scores(self) -> Tensor: ...
    def to_json(self) -> dict[str, Any]:
        """Plain values."""


@dataclass
class Run(ABC):
    """A trained network with everything needed to sample it and to score images by its bound.

    Attributes:
        folder: where it was loaded from.
        config: what it is.
        network: the averaged weights, in evaluation mode, float32.
    """

    folder: Path
    config: RunConfig
    network: nn.Module

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the images."""
        return self.config.data.shape

    @property
    def levels(self) -> int:
        """K."""
        return self.config.data.levels

    @abstractmethod
    def sample(
        self, num: int, *, seed: int = 0, first: int = 0, batch_size: int = 64, progress: Progress | None = None
    ) -> Tensor:
        """Draw images first..first+num-1 of a seed: uint8 (num, C, H, W). Each is always the same image."""

    @abstractmethod
    def bound(
        self,
        images: Tensor | ImageDataset,
        *,
        seed: int = 0,
        batch_size: int = 64,
        progress: Progress | None = None,
    ) -> Report:
        """The bound over images (uint8, N x C x H x W, or a data set): terms in bits/dim, and each image's score."""

    def score(self, images: Tensor | ImageDataset, *, seed: int = 0) -> Tensor:
        """(N,) float64 bits/dim of each image: how surprising it is."""
        return self.bound(images, seed=seed).scores

    def draft(self, num: int, seed: int) -> Tensor:
        """Samples for a look while training goes on."""
        return self.sample(num, seed=seed)

    def glance(self, images: ImageDataset) -> Report:
        """The bound, roughly, for a look while training goes on."""
        return self.bound(images)

    def prepare(self, images: ImageDataset, progress: Progress | None = None) -> None:
        """Measure on training images what a finished model should know of itself, and keep it: here nothing."""
        return None

    def extras(self) -> dict[str, Tensor]:
        """What is kept beside the weights."""
        return {}

    def save(self) -> None:
        """Write model.safetensors: the weights and the extras."""
        save_model(self.folder, self.network, self.extras())

    def check_number(self, num: int, batch_size: int) -> None:
        """Check that so many images can be drawn at once.

        Raises:
            ConfigurationError: they can't.
        """
        for flag, value in (("--num", num), ("--batch-size", batch_size)):
            if value < 1:
                raise ConfigurationError(f"{flag} must be at least 1, got {value}.")
        if num * math.prod(self.shape) > MOST_BYTES:
            raise ConfigurationError(
                f"--num {num} images of {math.prod(self.shape)} bytes each would not fit into memory; draw at most "
                f"{MOST_BYTES // math.prod(self.shape)} at once, under several seeds."
            )

    def dataset_of(self, images: Tensor | ImageDataset, batch_size: int = 1) -> ImageDataset:
        """Images as a data set of this model's shape.

        Raises:
            ShapeError: images of another shape.
            DataError: of another number of levels.
            ConfigurationError: batches of less than one.
        """
        if batch_size < 1:
            raise ConfigurationError(f"--batch-size must be at least 1, got {batch_size}.")
        dataset = ArrayDataset(images, self.levels) if isinstance(images, Tensor) else images
        if dataset.shape != self.shape:
            raise ShapeError(
                f"the images are {_by(dataset.shape)} (channels x height x width), and the model in {self.folder} "
                f"makes {_by(self.shape)}; --resize brings pictures to that, or choose another model."
            )
        dataset.require_levels(self.levels)
        return dataset


def save_model(folder: Path, network: nn.Module, extras: dict[str, Tensor]) -> None:
    """Write the weights, and what is kept beside them, to model.safetensors."""
    weights = {f"network.{name}": value for name, value in network.state_dict().items()}
    write_tensors(folder / MODEL_FILE, {**weights, **extras}, {})


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
