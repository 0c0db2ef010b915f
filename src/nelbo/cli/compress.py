"""`nelbo compress`: images as .nelbo files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from os.path import realpath
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.compressed import AT_ONCE
from nelbo.cli.console import MOST_NAMED, bars, name_rejects, say
from nelbo.cli.options import DeviceOption, JsonOption, ModelOption, TilesOption
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.cli.compressed import File
    from nelbo.codec import CodecReport, ProgressiveCodec
    from nelbo.data import Picture, Reject
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

    def cut(self, file: File, codec: ProgressiveCodec, picture: Picture) -> File:
        """Return the file up to its end; an image that is stored raw stays whole."""
        from nelbo.codec import RawImage, cut_to_error

        if isinstance(file, RawImage):
            return file
        if self.max_bytes is not None:
            return file.cut(self.max_bytes)
        return file if self.rmse is None else cut_to_error(codec, file, picture.pixels, self.rmse)


def compress(
    images: Annotated[
        str, typer.Argument(help="Image, folder of images, .npy or .npz file, or the name of a built-in data set.")
    ],
    model: ModelOption,
    target: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Output file (.nelbo), or a folder for several images. Required unless --report is given.",
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

    The first bytes of a file decode to a preview. Decompression needs the same model. Images that do not get smaller
    are stored uncompressed or with zlib or LZMA; such files have no preview. Exit code 1: an image was skipped.
    """
    ending = _Ending(lossy_only, max_bytes, rmse, report)
    if target is None and not report:
        raise ConfigurationError("set --out to the file or folder to write, or request a --report.")
    from nelbo.cli.compress_tables import show_sizes
    from nelbo.runs import DiffusionRun, load_as

    run = load_as(DiffusionRun, model, device=device)
    codec = run.codec(batch_size)
    pictures, rejects = _pictures(images, num, run, model)
    if report:
        _check_sizes(run, pictures)
    paths = None if target is None else _paths(target, images, pictures)
    with bars() as bar:
        files = list(_written(codec, pictures, paths, effort, ending, bar))
        found = _report(run, codec, pictures, files, bar) if report else None
    show_sizes(pictures, files, found, json)
    name_rejects(rejects, "")
    _name_losses(pictures)
    if rejects:
        raise typer.Exit(1)


def _pictures(images: str, num: int | None, run: DiffusionRun, model: str) -> tuple[list[Picture], list[Reject]]:
    """Read the images that the model can compress, and the others with reasons.

    Raises:
        DataError: there is no image that the model can compress.
    """
    from nelbo.data import read_pictures

    rejects: list[Reject] = []
    pictures = list(_fitting(read_pictures(images, num, limits=run.config.data.range), run, rejects))
    if not pictures:
        name_rejects(rejects)
        raise DataError(f"{images} has no image that {model} can compress.")
    return pictures, rejects


def _fitting(found: Iterable[Picture | Reject], run: DiffusionRun, rejects: list[Reject]) -> Iterator[Picture]:
    """Yield the images with the model's number of channels, and add the others to `rejects`."""
    from nelbo.data import Reject

    kinds = {1: "grey", 3: "in colour"}
    for each in found:
        if isinstance(each, Reject):
            rejects.append(each)
        elif len(each.pixels) != run.shape[0]:
            theirs, ours = kinds.get(len(each.pixels), "?"), kinds.get(run.shape[0], "points")
            rejects.append(Reject(each.name, f"{theirs}, and the model's images are {ours}"))
        else:
            yield each


def _check_sizes(run: DiffusionRun, pictures: list[Picture]) -> None:
    """Check that all images have the model's size.

    Raises:
        ShapeError: an image has another size.
    """
    for picture in pictures:
        if tuple(picture.pixels.shape) != run.shape:
            raise ShapeError(
                f"--report needs images of the model's size {run.shape} (C x H x W), because it computes their bound; "
                f"{picture.name} is {tuple(picture.pixels.shape)}. Remove --report or that image."
            )


def _paths(target: Path, images: str, pictures: list[Picture]) -> list[Path]:
    """Return the path of each file: `target` itself for one image, else a file in that folder with the image's name.

    Raises:
        ConfigurationError: the name does not end in .nelbo, or the file would overwrite an image.
        RunError: a file cannot be written there.
    """
    from nelbo.files import check_target

    if len(pictures) == 1 and not Path(images).is_dir() and not target.is_dir():
        if target.suffix != ".nelbo":
            raise ConfigurationError(f"--out {target} must end in .nelbo.")
        paths = [target]
    else:
        names = [Path(picture.name).stem for picture in pictures]
        if len(set(names)) < len(names):
            names = [f"{i:05d}-{name}" for i, name in enumerate(names)]
        paths = [target / f"{name}.nelbo" for name in names]
    given = {realpath(picture.path) for picture in pictures if picture.path is not None}
    for path in paths:
        check_target(path)
        if realpath(path) in given:
            raise ConfigurationError(f"{path} would overwrite an image that is read; choose another --out.")
    return paths


def _written(
    codec: ProgressiveCodec,
    pictures: list[Picture],
    paths: list[Path] | None,
    effort: int,
    ending: _Ending,
    bar: Bars,
) -> Iterator[File]:
    """Compress all images, a batch at a time; write each file as soon as it is ready, and yield it."""
    from nelbo.files import write_bytes

    for first in range(0, len(pictures), AT_ONCE):
        batch = pictures[first : first + AT_ONCE]

        def progress(done: int, total: int, first: int = first, num: int = len(batch)) -> None:
            bar("compressing", first * total + done * num, len(pictures) * total)

        files = codec.encode(
            [picture.pixels for picture in batch],
            effort=effort,
            lossless=not ending.lossy_only,
            verify=ending.lossless,
            raw=ending.lossless,
            progress=progress,
        )
        for number, (picture, whole) in enumerate(zip(batch, files, strict=True), first):
            file = ending.cut(whole, codec, picture)
            if paths is not None:
                write_bytes(paths[number], file.to_bytes())
            yield file


def _report(
    run: DiffusionRun, codec: ProgressiveCodec, pictures: list[Picture], files: list[File], bar: Bars
) -> CodecReport:
    """Compare the files with the bound on the same images, which have the model's size."""
    import torch

    from nelbo.codec import report_files

    levels = torch.stack([picture.pixels for picture in pictures])
    bound = run.bound(levels, steps_per_image=BOUND_STEPS, progress=bar.of("bound"))
    return report_files(codec, files, levels, bound.total)


def _name_losses(pictures: list[Picture]) -> None:
    """Print what of a file its .nelbo file lacks: the first ones by name, the others as a count."""
    changed = {p.name: "; ".join(filter(None, (p.lost, p.metadata))) for p in pictures if p.lost or p.metadata}
    for name, lost in list(changed.items())[:MOST_NAMED]:
        say(f"note: {name}: {lost}; decoding gives this image back")
    if len(changed) > MOST_NAMED:
        say(f"note: files lack something of {len(changed) - MOST_NAMED} more images")
