"""Compress batches of images into files, by a model that each worker of an engine loads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from nelbo.codec import ProgressiveCodec
from nelbo.data.names import Range
from nelbo.engines.file_end import FileEnd
from nelbo.engines.scoring import worker_name
from nelbo.errors import ConfigurationError, RunError, option
from nelbo.runs import DiffusionRun, MaskingRun, codes_photographs, find_codec, load_as, photographs


@dataclass(frozen=True)
class Compressor:
    """The model that compresses: a diffusion model, or a model of photographs.

    Attributes:
        name: as the user named it.
        codec: its codec.
        run: the diffusion model; None for a model of photographs.
    """

    name: str
    codec: ProgressiveCodec
    run: DiffusionRun | None = None

    @classmethod
    def of(cls, model: str | None, batch_size: int, integers: bool | None, device: str | None) -> "Compressor":
        """Load the model that was named, or the bundled one of photographs.

        Args:
            model: a run folder or the name of a bundled model; None for the model of photographs.
            batch_size: tiles per pass through the network.
            integers: whether to code with the integer model of a run; None if it has one.
            device: such as "cuda".

        Raises:
            ConfigurationError: `integers` for a model of photographs.
        """
        folder = None if model is None else find_codec(model)
        if model is not None and folder is not None and not codes_photographs(folder):
            run = load_as(DiffusionRun, model, device=device)
            return cls(model, run.codec(batch_size, integers=integers), run)
        found = photographs() if folder is None else MaskingRun.load(folder)
        if integers is not None:
            given, other = option("integers", integers), option("model")
            raise ConfigurationError(f"{given} is for diffusion models; remove it, or choose one with {other}.")
        return cls(model or "the model of photographs", found.codec())

    @property
    def limits(self) -> Range | None:
        """The range of the pixels; None for that of the files."""
        return None if self.run is None else self.run.config.data.range

    def of_bound(self) -> DiffusionRun:
        """Return the diffusion model whose bound a report compares with.

        Raises:
            ConfigurationError: it is a model of photographs.
        """
        if self.run is None:
            raise ConfigurationError(f"{option('report')} needs a diffusion model, and {self.name} is not one.")
        return self.run


def named_for_workers(model: str | None) -> str | None:
    """Return a model as a worker finds it, which may have another working folder."""
    return None if model is None else worker_name(find_codec(model))


@dataclass(frozen=True)
class CompressJob:
    """Compress batches of images (C, H, W): a batch becomes the bytes of a file for each image.

    Attributes:
        model: see `Compressor.of`, as for the next three; a folder by its absolute path.
        fingerprint: of the codec, in hexadecimal digits, which a worker compares with its own.
        effort: of the search, 1 to 9.
        ending: where files end.
    """

    model: str | None
    batch_size: int
    integers: bool | None
    device: str | None
    fingerprint: str
    effort: int
    ending: FileEnd

    def open(self) -> Callable[[Sequence[Tensor]], list[bytes]]:
        """Load the model.

        Raises:
            RunError: the model there is another one.
        """
        codec = Compressor.of(self.model, self.batch_size, self.integers, self.device).codec
        if codec.fingerprint.hex() != self.fingerprint:
            raise RunError(f"{self.model} is another model for a worker than for this process; copy it there again.")
        return lambda images: compress_batch(codec, images, self.effort, self.ending)


def compress_batch(
    codec: ProgressiveCodec,
    images: Sequence[Tensor],
    effort: int,
    ending: FileEnd,
    progress: Callable[[int, int], None] | None = None,
) -> list[bytes]:
    """Compress a batch of images (C, H, W) into the bytes of a file for each.

    Args:
        codec: of the model.
        images: that pass through the network together.
        effort: of the search, 1 to 9.
        ending: where files end.
        progress: called with (steps done, steps in total).

    Raises:
        NelboError: that of the codec.
    """
    files = codec.encode(
        images,
        effort=effort,
        lossless=not ending.lossy_only,
        verify=ending.lossless,
        raw=ending.lossless,
        progress=progress,
    )
    return [ending.cut(file, codec, pixels).to_bytes() for file, pixels in zip(files, images, strict=True)]
