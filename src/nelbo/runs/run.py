"""What every finished model can do, whatever its family."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from nelbo.data import ImageDataset, Images, Prepared
from nelbo.display import Displayed, Frame, counted, data_frame, with_error
from nelbo.errors import ConfigurationError, RunError, option
from nelbo.files import fingerprint, read_tensors, write_tensors
from nelbo.options import check_whole
from nelbo.progress import Progress
from nelbo.runs.folder import MODEL_FILE, RunConfig, bundled_models
from nelbo.runs.reading import RESIZE, dataset_for, read
from nelbo.training import METRICS_FILE, MetricsLog

MOST_BYTES = 2**34  # of samples drawn at once
SHOWN = {"samples.png": "samples after training", "bound.png": "held-out bound during training"}  # in a notebook


class Report(Protocol):
    """A bound over images in bits/dim, whatever its terms are. `scores` (N,) holds one value per image."""

    @property
    def total(self) -> float: ...
    @property
    def standard_error(self) -> float: ...
    @property
    def scores(self) -> Tensor: ...
    @property
    def seed(self) -> int | None: ...
    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""


def held_out_record(report: Report) -> dict[str, float | None]:
    """Return the fields of a line of the metrics for a bound of held-out images."""
    error = None if math.isnan(report.standard_error) else round(report.standard_error, 4)
    return {"held_out_bits_per_dim": round(report.total, 4), "held_out_standard_error": error}


@dataclass
class Run(Displayed, ABC):
    """A trained network with everything needed to sample it and to score images by its bound.

    Attributes:
        family: the name of the model family, a key of `nelbo.recipes.FAMILIES`.
        has_chain: whether scores take `steps_per_image`.
        folder: the run folder that it was loaded from.
        config: its configuration.
        network: the averaged weights, in evaluation mode, float32.
    """

    family: ClassVar[str]
    has_chain: ClassVar[bool] = False

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
        return self.config.data.num_levels

    @property
    def title(self) -> str:
        """The class, and the folder or the name of a bundled model."""
        bundled = {folder: f"{name} (bundled)" for name, folder in bundled_models().items()}
        return f"{type(self).__name__} {bundled.get(self.folder, self.folder)}"

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, each with its step; empty if the folder has none, as in bundled models."""
        return MetricsLog(self.folder / METRICS_FILE).records()

    def summary(self) -> Mapping[str, str]:
        """Return the images, the model, and how far it is trained."""
        weights = sum(weight.numel() for weight in self.network.parameters())
        place = next(self.network.parameters()).device
        return {
            **self.config.data.summary(),
            "model": self.config.recipe.in_words,
            "network": f"{weights:,} weights on {place}",
            "state": "; ".join(self.state()),
        }

    def state(self) -> list[str]:
        """Return in words how far the model is trained."""
        records, bound = self.metrics, "held_out_bits_per_dim"
        if not records:
            return ["no metrics in its folder"]
        measured = [record for record in records if record.get(bound) is not None]
        words = [f"{counted(records[-1]['step'], 'step')} of training"]
        if measured:
            error = measured[-1].get("held_out_standard_error")
            words += [f"held-out bound {with_error(measured[-1][bound], math.nan if error is None else error)}"]
        return words

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the pictures of samples and of the bound in the folder, where they exist."""
        paths = {caption: self.folder / name for name, caption in SHOWN.items()}
        return {caption: [path.read_bytes()] for caption, path in paths.items() if path.is_file()}

    def to_pandas(self) -> Frame:
        """Return the metrics as a data frame of pandas: one row for each line of metrics.jsonl.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame(self.metrics)

    @property
    def calibrated(self) -> bool:
        """Whether `prepare` has measured what this family measures on training images."""
        return True

    def require_decoder(self) -> None:
        """Check that every part of the decoder is trained, which a bound and a file need.

        Raises:
            RunError: a part is not trained yet. Only some families have such a part.
        """
        return None

    @abstractmethod
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
        """Draw images first..first+num-1 of a seed: uint8 (num, C, H, W). Image i of a seed is always the same."""

    @abstractmethod
    def bound(self, images: Images, *args: Any, **options: Any) -> Report:
        """Compute the bound over images (uint8, N x C x H x W, or a data set), in bits/dim.

        Every family takes `seed`, `batch_size` and `progress`, and further options of its own.
        """

    def score(
        self,
        images: Images,
        *,
        seed: int | None = 0,
        batch_size: int = 64,
        progress: Progress | bool | None = None,
    ) -> Tensor:
        """Score each image by its bound: (N,) float64 bits/dim. A higher score is a more surprising image."""
        return self.bound(images, seed=seed, batch_size=batch_size, progress=progress).scores

    def draft(self, num: int, seed: int, like: ImageDataset | None = None) -> Tensor:
        """Draw samples for a preview during training.

        Args:
            like: images whose numbers and second images condition the samples; None for none.
        """
        return self.sample(num, seed=seed)

    def glance(self, images: ImageDataset) -> dict[str, float | None]:
        """Estimate the bound roughly, for a preview during training: fields of a line of the metrics."""
        return held_out_record(self.bound(images))

    def prepare(
        self, images: ImageDataset, num_examples: int | None = None, progress: Progress | bool | None = None
    ) -> None:
        """Measure on training images what a finished model stores about itself, unless that is stored already.

        Some families store nothing.

        Args:
            num_examples: that the model was trained on; the measurement takes less time after a short training. None
                measures fully.
        """
        return None

    def extras(self) -> dict[str, Tensor]:
        """Return the tensors that are saved beside the weights."""
        return {}

    def digest(self) -> str:
        """Return 64 hexadecimal digits that tell the weights, and the tensors stored beside them, from others."""
        return fingerprint({}, self.tensors()).hex()

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor of the model by name: the weights, the extras, and those of other files of its folder."""
        return {**_named(self.network), **self.extras()}

    def save(self) -> None:
        """Write model.safetensors: the weights and the extras."""
        save_model(self.folder, self.network, self.extras())

    def refuse_chain_options(self, options: Mapping[str, object]) -> None:
        """Refuse the options of a diffusion chain where the family has no chain; None counts as not given.

        Raises:
            ConfigurationError: the family has no chain, and an option was given.
        """
        return None

    def check_number(self, num: int, batch_size: int, first: int = 0) -> None:
        """Check the number of images to draw.

        Raises:
            ConfigurationError: not a whole number, less than one, or too many for the memory.
        """
        check_whole("num", num)
        check_whole("batch_size", batch_size)
        check_whole("first", first, 0)
        if num * math.prod(self.shape) > MOST_BYTES:
            raise ConfigurationError(
                f"{option('num', num)}: images of {math.prod(self.shape)} bytes each would not fit into memory; draw "
                f"at most {MOST_BYTES // math.prod(self.shape)} at a time, each part with its own seed."
            )

    def read(self, spec: str, **options: Any) -> Prepared:
        """Read every image that a spec names as the training images were read: see `nelbo.runs.reading.read`."""
        return read(self.config.data, self.folder, spec, **options)

    def dataset_of(self, images: Images, batch_size: int = 1, *, remedy: str = RESIZE) -> ImageDataset:
        """Return images as a data set of this model's shape: see `nelbo.runs.reading.dataset_for`.

        Raises:
            ConfigurationError: a batch size below 1.
        """
        check_whole("batch_size", batch_size)
        return dataset_for(self.config.data, self.folder, images, remedy)


def save_model(folder: Path, network: nn.Module, extras: dict[str, Tensor]) -> None:
    """Write the weights and the tensors stored beside them to model.safetensors."""
    write_tensors(folder / MODEL_FILE, {**_named(network), **extras}, {})


def holds_weights(folder: Path, network: nn.Module) -> bool:
    """Return whether model.safetensors holds exactly these weights; False also if it is missing or damaged."""
    if not (folder / MODEL_FILE).is_file():
        return False
    with suppress(RunError):
        stored, own = read_tensors(folder / MODEL_FILE)[0], network.state_dict()
        return all(
            (known := stored.get(f"network.{name}")) is not None and torch.equal(known, value.cpu())
            for name, value in own.items()
        )
    return False


def _named(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights by their names in model.safetensors."""
    return {f"network.{name}": value for name, value in network.state_dict().items()}
