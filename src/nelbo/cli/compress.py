"""`nelbo compress`: images as .nelbo files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.compress_files import Coded, existing, paths_of
from nelbo.cli.compress_images import Images, Known
from nelbo.cli.compressed import batches
from nelbo.cli.console import MOST_NAMED, bars, name_rejects, say
from nelbo.cli.engine import AddressOption, EngineOption, GpusOption, WorkersOption
from nelbo.cli.measured import compress_measured
from nelbo.cli.options import RUN_HELP, DeviceOption, JsonOption, TilesOption
from nelbo.cli.outputs import check_outputs
from nelbo.engines.file_end import FileEnd
from nelbo.engines.options import PROCESS, EngineOptions
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.codec import CodecReport, ProgressiveCodec
    from nelbo.engines import CompressJob
    from nelbo.runs import DiffusionRun

    Encode = Callable[[Iterator[list[Tensor]]], Iterator[list[bytes]]]

BOUND_STEPS = 32  # values of t per image for the bound in the report


def compress(
    images: Annotated[
        str,
        typer.Argument(
            help="Image, folder of images, .npy or .npz file, or a built-in data set, of which the held-out images are "
            "compressed."
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help=f"{RUN_HELP} Default: the bundled model of colour photographs of any size.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Output file (.nelbo), or a folder for several images. Required unless --report is given.",
        ),
    ] = None,
    integers: Annotated[
        bool | None,
        typer.Option(
            "--integers/--no-integers",
            help="Code with the integer model of `nelbo codec --integers`, or with the diffusion network. Default: the "
            "integer model, if the run has one.",
            show_default=False,
        ),
    ] = None,
    effort: Annotated[
        int,
        typer.Option(
            min=1, max=9, help="Search effort. Higher values are slower. Files get smaller up to 5, but not above."
        ),
    ] = 5,
    lossy_only: Annotated[
        bool,
        typer.Option("--lossy-only", help="Omit the lossless part of each file. The decoded image is approximate."),
    ] = False,
    max_bytes: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum file size in bytes. Larger files are truncated and become lossy; images stored without the "
            "model are not truncated.",
        ),
    ] = None,
    rmse: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Truncate each file where the RMSE of the decoded image falls to this value, in grey levels. Lossy.",
        ),
    ] = None,
    num: Annotated[
        int | None, typer.Option(min=1, help="Number of images, evenly spaced in the data set; all by default.")
    ] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Compare the file sizes with the bound on the same images.")
    ] = False,
    json: JsonOption = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    gpus: GpusOption = None,
    batch_size: TilesOption = 8,
    device: DeviceOption = None,
) -> None:
    """Compress images with a model. Lossless by default.

    Without --model, colour photographs of any size are compressed with a bundled model.

    The first bytes of a file decode to a preview. Decompression needs the same model. Images that do not get smaller
    are stored uncompressed or with zlib or LZMA; such files have no preview. If the command was interrupted, run it
    again: lossless files that are complete are kept. Exit code 1: an image was skipped.
    """
    options = EngineOptions(PROCESS if engine is None else engine, workers, address, gpus)
    ending = FileEnd(lossy_only, max_bytes, rmse)
    if report and not ending.lossless:
        raise ConfigurationError(f"--report needs lossless files; remove {ending.given[0]}.")
    if target is None and not report:
        raise ConfigurationError("set --out to the file or folder to write, or request a --report.")
    check_outputs({"--json": json}, [images], model)
    from nelbo.cli.compress_tables import show_sizes
    from nelbo.engines import CompressJob, Compressor, named_for_workers
    from nelbo.paths import check_folder, check_target
    from nelbo.runs import PLAN_FILE

    if target is not None:  # its name is checked when the number of images is known
        (check_folder if target.is_dir() else check_target)(target)
    chosen = Compressor.of(model, batch_size, integers, device)
    codec, run = chosen.codec, chosen.run
    if run is not None and run.config.data.level_scale is not None:
        if num is not None or report or not ending.lossless:
            raise ConfigurationError(
                "measured values are compressed losslessly and whole; remove --num, --report, --lossy-only, "
                "--max-bytes and --rmse."
            )
        compress_measured(run.measured_codec(batch_size, integers=integers), images, target, effort, json)
        return
    if run is not None and codec.chain.exact and integers is None and (run.folder / PLAN_FILE).is_file():
        say(f"note: coding with the integer model of {model}; --no-integers codes with its diffusion network")
    found = Images.of(images, num, codec.shape[0], chosen.limits, chosen.name)
    if report:
        _check_sizes(chosen.of_bound(), found.known)
    files: dict[int, Coded] = {}
    paths = None
    if target is not None:
        paths = paths_of(target, images, found.known, json)
        kept = existing(paths, found.known, codec, effort, keep=report)
        files = kept if ending.lossless else {}
    if files:
        say(f"{len(files)} of {len(found.known)} files exist already and are kept")
    with bars() as bar:
        mark, missing = codec.fingerprint.hex(), [each for each in range(len(found.known)) if each not in files]
        job = CompressJob(named_for_workers(model), batch_size, integers, device, mark, effort, ending)
        files |= _written(_encoder(options, codec, job, len(missing), bar), found, missing, paths, report)
        ordered = [files[number] for number in range(len(found.known))]
        compared = _report(chosen.of_bound(), codec, found, ordered, bar) if report else None
    show_sizes(found.known, ordered, compared, json)
    name_rejects(found.rejects, "")
    _name_losses(found.known)
    if found.rejects:
        raise typer.Exit(1)


def _check_sizes(run: DiffusionRun, images: list[Known]) -> None:
    """Check that all images have the model's size.

    Raises:
        ShapeError: an image has another size.
    """
    for image in images:
        if image.shape != run.shape:
            raise ShapeError(
                f"--report needs images of the model's size {run.shape} (C x H x W), because it computes their bound; "
                f"{image.name} is {image.shape}. Remove --report or that image."
            )


def _written(
    encode: Encode, images: Images, missing: Sequence[int], paths: list[Path] | None, report: bool
) -> Iterator[tuple[int, Coded]]:
    """Compress the images that have no file yet, in batches, and write each file as soon as it is ready."""
    from nelbo.codec import Bitstream
    from nelbo.files import write_bytes

    taken = deque[list[int]]()  # the images of the batches that are being compressed

    def pixels() -> Iterator[list[Tensor]]:
        for batch in batches(images.pixels(missing), lambda each: each[1].numel()):
            taken.append([number for number, _ in batch])
            yield [each for _, each in batch]

    for contents in encode(pixels()):
        for number, content in zip(taken.popleft(), contents, strict=True):
            if paths is not None:
                write_bytes(paths[number], content)
            yield number, Coded.of(Bitstream.from_bytes(content), len(content), keep=report)


def _encoder(options: EngineOptions, codec: ProgressiveCodec, job: CompressJob, num: int, bar: Bars) -> Encode:
    """Return the function that compresses batches of `num` images in all, here or by an engine."""
    from nelbo.engines import compress_batch, open_engine

    def here(batches: Iterator[list[Tensor]]) -> Iterator[list[bytes]]:
        first = 0
        for batch in batches:

            def progress(done: int, total: int, first: int = first, size: int = len(batch)) -> None:
                bar("compressing", first * total + done * size, num * total)

            yield compress_batch(codec, batch, job.effort, job.ending, progress)
            first += len(batch)

    def by_engine(batches: Iterator[list[Tensor]]) -> Iterator[list[bytes]]:
        done = 0
        with open_engine(options) as engine:
            for contents in engine.map(job, batches):
                yield contents
                done += len(contents)
                bar("compressing", done, num)

    return here if options.engine == PROCESS else by_engine


def _report(run: DiffusionRun, codec: ProgressiveCodec, images: Images, files: list[Coded], bar: Bars) -> CodecReport:
    """Compare the files with the bound on the same images, which have the model's size."""
    import torch

    from nelbo.codec import report_files

    levels = torch.stack([pixels for _, pixels in images.pixels(range(len(images.known)))])
    bound = None
    if not codec.chain.exact:
        bound = run.bound(levels, steps_per_image=BOUND_STEPS, progress=bar.of("bound")).total
    return report_files(codec, [each.file for each in files if each.file is not None], levels, bound)


def _name_losses(images: list[Known]) -> None:
    """Print what of a file its .nelbo file lacks: the first ones by name, the others as a count."""
    changed = [image for image in images if image.changed]
    for image in changed[:MOST_NAMED]:
        say(f"note: {image.name}: {image.changed}; decoding gives this image back")
    if len(changed) > MOST_NAMED:
        say(f"note: files lack something of {len(changed) - MOST_NAMED} more images")
