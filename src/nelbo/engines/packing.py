"""Pack many images into an archive whose blocks are encoded by an engine."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor

from nelbo.engines.options import EngineOptions
from nelbo.engines.scoring import worker_name
from nelbo.engines.starting import open_engine
from nelbo.errors import RunError
from nelbo.paths import expanded
from nelbo.progress import StageProgress, no_stages
from nelbo.runs import IntegerModel, find_run
from nelbo.runs.packing import ArchiveReport, Packed
from nelbo.runs.packing import pack as write


@dataclass(frozen=True)
class EncodeJob:
    """Encode blocks by the integer model of a run.

    Attributes:
        model: the absolute path of the run folder, or the name of a bundled model.
        fingerprint: of the integer model, in hexadecimal digits, which a worker compares with its own.
    """

    model: str
    fingerprint: str

    def open(self) -> Callable[[Sequence[Tensor]], bytes]:
        """Load the model.

        Raises:
            RunError: the model there is another one.
        """
        found = IntegerModel.load(find_run(self.model))
        if found.fingerprint.hex() != self.fingerprint:
            raise RunError(f"{self.model} is another model for a worker than for this process; copy it there again.")
        return found.archive_codec().encode


def pack(
    images: Iterable[Packed],
    model: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    engine: EngineOptions | str = "process",
    progress: StageProgress = no_stages,
) -> ArchiveReport:
    """Write an archive of images, as `nelbo.runs.packing.pack`: the bytes are the same with every engine.

    This process reads the images and writes the blocks in order; a stopped archive is continued.

    Args:
        images: the member and the pixels of each image, read one by one; their paths must be different.
        model: a run folder or the name of a bundled model, with an integer model.
        target: the file.
        engine: where to encode; a name stands for the engine with its default options.
        progress: called with the block, and the tiles done and in total; only by the engine process.

    Raises:
        NelboError: as in `nelbo.runs.packing.pack`, or the engine cannot be started.
    """
    folder = find_run(model)
    integers, path = IntegerModel.load(folder), expanded(target, "target")
    options = EngineOptions(engine) if isinstance(engine, str) else engine
    if options == EngineOptions():
        return write(images, integers.archive_codec(), path, progress)
    job = EncodeJob(worker_name(folder), integers.fingerprint.hex())
    with open_engine(options) as started:
        return write(images, integers.archive_codec(), path, progress, lambda blocks: started.map(job, blocks))
