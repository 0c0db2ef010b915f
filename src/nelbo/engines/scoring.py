"""Score and evaluate many images part by part, on an engine, into a folder that can be continued."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from nelbo.data import ImageDataset, Images, digest_of, names_of
from nelbo.engines.options import PART_SIZE, EngineOptions
from nelbo.engines.part_files import require_parquet, write_part
from nelbo.engines.parts_folder import Part, PartsFolder, begun
from nelbo.engines.scores_report import ScoresReport, report_of
from nelbo.engines.starting import open_engine
from nelbo.errors import ConfigurationError, DataError, RunError, option
from nelbo.evaluation import BoundReport
from nelbo.files import fingerprint
from nelbo.options import check_whole
from nelbo.paths import expanded
from nelbo.progress import Progress, reported
from nelbo.runs import BoundOptions, DiffusionRun, Run, bundled_models, load_as
from nelbo.runs.folder import bundled_codecs

Model = str | os.PathLike[str] | Run


@dataclass(frozen=True)
class ImageParts:
    """Images with their names: each part is taken out, and sent to a worker, only when its turn comes.

    Attributes:
        images: the set.
        names: the name of each image.
    """

    images: ImageDataset
    names: Sequence[str]

    def piece(self, part: Part) -> "Piece":
        """Return the images of a part; those of files stay in their files."""
        chosen = self.images.subset(torch.arange(part.first, part.end))
        return Piece(part, chosen.located(), list(self.names[part.first : part.end]))


@dataclass(frozen=True)
class Piece:
    """A part with its images and their names."""

    part: Part
    images: ImageDataset
    names: list[str]


@dataclass(frozen=True)
class ScoreJob:
    """Score pieces and write the file of each. A pickled copy loads the model, instead of having it.

    Attributes:
        model: the absolute path of the run folder, or the name of a bundled model.
        fingerprint: of the model, which a worker compares with its own.
        device: of the workers; None for the best one of each.
        options: how to measure.
        folder: where the files go.
        run: the model, in this process.
    """

    model: str
    fingerprint: str
    device: str | None
    options: BoundOptions
    folder: PartsFolder
    run: DiffusionRun | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "run": None}

    def open(self) -> Callable[[Piece], Part]:
        """Load the model.

        Raises:
            RunError: the model there is another one.
        """
        run = load_as(DiffusionRun, self.model, device=self.device) if self.run is None else self.run
        if model_fingerprint(run) != self.fingerprint:
            raise RunError(f"{self.model} is another model for a worker than for this process; copy it there again.")

        def score_piece(piece: Piece) -> Part:
            measured = run.measured(piece.images, self.options, first=piece.part.first)
            write_part(self.folder.file(piece.part), piece.part.first, piece.names, measured)
            return piece.part

        return score_piece


def score(
    model: Model,
    images: Images,
    out: str | os.PathLike[str],
    *,
    engine: EngineOptions | str = "process",
    steps_per_image: int | None = 32,
    seed: int = 0,
    batch_size: int = 64,
    part_size: int = PART_SIZE,
    resize: bool = True,
    device: str | None = None,
    progress: Progress | bool | None = None,
) -> ScoresReport:
    """Score many images into a folder of Parquet files, one for each part. Only one part is in memory at a time.

    The scores are those of `run.bound(images, ...)`, whatever the engine, its number of workers and the parts are: the
    draws of an image depend on the seed and its index, and parts are whole batches. They are equal to the last bit on
    processors of one kind with one number of threads, and else up to rounding in the network. If the work was stopped,
    the same call computes the parts that are missing.

    Args:
        model: a run, its folder, or the name of a bundled model.
        images: the spec of a data set, or images of any kind that `run.bound` takes.
        out: the folder.
        engine: where to compute; a name stands for the engine with its default options.
        steps_per_image: values of t evaluated for each image; None for every t.
        seed: of the draws.
        batch_size: images per pass through the network.
        part_size: images in a part, a multiple of `batch_size`.
        resize: convert the images that a spec names to the model's size and mode; otherwise others are left out.
        device: of this process or the workers, such as "cuda"; the best one there is if None.
        progress: True for a progress bar, or a function that is called with (images done, images in all).

    Raises:
        ConfigurationError: `out` holds other work, a package is not installed, or an invalid option.
        DataError: there are no images, or they cannot be used.
        RunError: the model cannot be loaded or has no trained decoder; or a file cannot be written.
    """
    options = BoundOptions(steps_per_image=steps_per_image, seed=seed, batch_size=batch_size)
    run = opened(model, device)
    parts = parts_of(run, images, resize)
    return measure(run, parts, out, options, engine=engine, part_size=part_size, device=device, progress=progress)


def evaluate(
    model: Model,
    images: Images,
    out: str | os.PathLike[str],
    *,
    engine: EngineOptions | str = "process",
    steps_per_image: int | None = 8,
    steps: int | None = None,
    variance: str | None = None,
    clip: bool = False,
    seed: int = 0,
    batch_size: int = 64,
    part_size: int = PART_SIZE,
    resize: bool = True,
    device: str | None = None,
    progress: Progress | bool | None = None,
) -> BoundReport:
    """Compute the bound over many images: the report of `run.bound`, from the same folder of parts as `score`.

    The report is the same with every engine. It differs from that of `run.bound` by the rounding of sums in float64. It
    has the score of each image, 8 bytes; `measure` returns a report without them.

    Args:
        model: see `score`, as for the other arguments.
        images: see `score`.
        out: the folder.
        steps: evaluate a stride of this many steps instead of the full chain.
        variance: of the reverse process; see `DiffusionRun.bound`.
        clip: clip the predicted image to the range of the data.

    Raises:
        NelboError: as in `score`.
    """
    options = BoundOptions(steps_per_image, steps, variance, clip, seed, batch_size)
    run = opened(model, device)
    parts = parts_of(run, images, resize)
    found = measure(run, parts, out, options, engine=engine, part_size=part_size, device=device, progress=progress)
    return run.report_of(found.sums, found.scores, options)


def opened(model: Model, device: str | None = None) -> DiffusionRun:
    """Return a run as it is, or load it, and check that it can score.

    Raises:
        ConfigurationError: it is no diffusion model.
        RunError: it cannot be loaded, or its decoder is not trained.
    """
    run = model if isinstance(model, Run) else load_as(DiffusionRun, model, device=device)
    if not isinstance(run, DiffusionRun):
        raise ConfigurationError(f"engines score with diffusion models, and {run.folder} is of another family.")
    run.require_decoder()
    return run


def parts_of(run: DiffusionRun, images: Images, resize: bool = True) -> ImageParts:
    """Return images for a model, of which a part can be taken; those of files and large arrays stay in their files."""
    if isinstance(images, str | os.PathLike):
        prepared = run.read(os.fspath(images), resize=resize, in_place=True)
        return ImageParts(prepared.images, prepared.names)
    dataset = run.dataset_of(images)
    return ImageParts(dataset, names_of(dataset))


def measure(
    run: DiffusionRun,
    parts: ImageParts,
    out: str | os.PathLike[str],
    options: BoundOptions,
    *,
    engine: EngineOptions | str = "process",
    part_size: int = PART_SIZE,
    device: str | None = None,
    progress: Progress | bool | None = None,
) -> ScoresReport:
    """Measure the bound of images of a model's shape, part by part; `score` states the options and the errors."""
    require_parquet()
    check_whole("part_size", part_size)
    if part_size % options.batch_size:
        raise ConfigurationError(
            f"{option('part_size')} is {part_size}, no multiple of the {option('batch_size')} {options.batch_size}; "
            f"give {part_size + -part_size % options.batch_size}, so that every batch is the same for any engine."
        )
    num = len(parts.images)
    if not num:
        raise DataError(f"{parts.images.name} has no images to score.")
    run.reverse(**options.of_the_chain)  # refuses options before the work
    mark = model_fingerprint(run)
    work = {"model": mark, "images": digest_of(parts.images, parts.names), **asdict(options)}
    with begun(expanded(out, "out").absolute(), work, num, part_size) as folder:
        job = ScoreJob(worker_name(run.folder), mark, device, options, folder, run)
        computed = 0
        with open_engine(engine) as started, reported(progress, "scoring") as report:
            missing = sum(part.end - part.first for part in folder.missing())
            report(num - missing, num)
            for part in cast(Iterator[Part], started.map(job, map(parts.piece, folder.missing()))):
                computed, missing = computed + 1, missing - (part.end - part.first)
                report(num - missing, num)
        return report_of(folder, computed)


def model_fingerprint(run: DiffusionRun) -> str:
    """Return 64 hexadecimal digits of what scores depend on: the recipe, every tensor, and how images are read."""
    data = run.config.data
    scales = [None if each is None else asdict(each) for each in (data.level_scale, data.scale)]
    settings = {"recipe": run.recipe.to_json(), "shape": run.shape, "levels": run.levels, "scales": scales}
    return fingerprint(settings, run.tensors()).hex()


def worker_name(folder: Path) -> str:
    """Return what a worker finds a run folder by: the name of a bundled model, or an absolute path."""
    bundled = {place: name for name, place in (bundled_models() | bundled_codecs()).items()}
    return bundled.get(folder, str(folder.absolute()))
