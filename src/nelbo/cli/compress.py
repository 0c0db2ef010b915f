"""`nelbo compress`: images as .nelbo files."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.compress_files import Coded, existing, paths_of
from nelbo.cli.compress_images import Images, Known
from nelbo.cli.compress_model import Chosen
from nelbo.cli.compressed import batches
from nelbo.cli.console import MOST_NAMED, bars, name_rejects, say
from nelbo.cli.measured import compress_measured
from nelbo.cli.options import RUN_HELP, DeviceOption, JsonOption, TilesOption
from nelbo.cli.outputs import check_outputs
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.cli.compressed import File
    from nelbo.codec import CodecReport, ProgressiveCodec
    from nelbo.runs import DiffusionRun

BOUND_STEPS = 32  # values of t per image for the bound in the report


@dataclass(frozen=True)
class _Ending:
    """Where each file ends; without any of these options it is lossless.

    Raises:
        ConfigurationError: more than one of them, or a report on lossy files.
    """

    lossy_only: bool
    max_bytes: int | None
    rmse: float | None
    report: bool

    def __post_init__(self) -> None:
        if len(self.given) > 1:
            raise ConfigurationError(f"{' and '.join(self.given)} each set the end of a file; keep one of them.")
        if self.report and self.given:
            raise ConfigurationError(f"--report needs lossless files; remove {self.given[0]}.")

    @property
    def given(self) -> list[str]:
        """The flags that were given; an RMSE of 0 is one of them."""
        flags = {"--lossy-only": self.lossy_only or None, "--max-bytes": self.max_bytes, "--rmse": self.rmse}
        return [flag for flag, value in flags.items() if value is not None]

    @property
    def lossless(self) -> bool:
        return not self.given

    def cut(self, file: File, codec: ProgressiveCodec, pixels: Tensor) -> File:
        """Return the file up to its end; an image that is stored without the model stays whole."""
        from nelbo.codec import RawImage, cut_to_error

        if isinstance(file, RawImage):
            return file
        if self.max_bytes is not None:
            return file.cut(self.max_bytes)
        return file if self.rmse is None else cut_to_error(codec, file, pixels, self.rmse)


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
    batch_size: TilesOption = 8,
    device: DeviceOption = None,
) -> None:
    """Compress images with a model. Lossless by default.

    Without --model, colour photographs of any size are compressed with a bundled model.

    The first bytes of a file decode to a preview. Decompression needs the same model. Images that do not get smaller
    are stored uncompressed or with zlib or LZMA; such files have no preview. If the command was interrupted, run it
    again: lossless files that are complete are kept. Exit code 1: an image was skipped.
    """
    ending = _Ending(lossy_only, max_bytes, rmse, report)
    if target is None and not report:
        raise ConfigurationError("set --out to the file or folder to write, or request a --report.")
    check_outputs({"--json": json}, [images], model)
    from nelbo.cli.compress_tables import show_sizes
    from nelbo.paths import check_folder, check_target
    from nelbo.runs import PLAN_FILE

    if target is not None:  # its name is checked when the number of images is known
        (check_folder if target.is_dir() else check_target)(target)
    chosen = Chosen.of(model, batch_size, integers, device)
    codec, run = chosen.codec, chosen.run
    if run is not None and run.config.data.scale is not None:
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
        files |= _written(codec, found, paths, files.keys(), effort, ending, bar)
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
    codec: ProgressiveCodec,
    images: Images,
    paths: list[Path] | None,
    kept: Collection[int],
    effort: int,
    ending: _Ending,
    bar: Bars,
) -> Iterator[tuple[int, Coded]]:
    """Compress the images that have no file yet, in batches, and write each file as soon as it is ready."""
    from nelbo.files import write_bytes

    missing = [number for number in range(len(images.known)) if number not in kept]
    first = 0
    for batch in batches(images.pixels(missing), lambda each: each[1].numel()):

        def progress(done: int, total: int, first: int = first, num: int = len(batch)) -> None:
            bar("compressing", first * total + done * num, len(missing) * total)

        files = codec.encode(
            [pixels for _, pixels in batch],
            effort=effort,
            lossless=not ending.lossy_only,
            verify=ending.lossless,
            raw=ending.lossless,
            progress=progress,
        )
        for (number, pixels), whole in zip(batch, files, strict=True):
            file = ending.cut(whole, codec, pixels)
            content = file.to_bytes()
            if paths is not None:
                write_bytes(paths[number], content)
            yield number, Coded.of(file, len(content), keep=ending.report)
        first += len(batch)


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
