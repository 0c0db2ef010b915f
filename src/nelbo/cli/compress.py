"""`nelbo compress`: images as .nelbo files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import NAMED, Bars, bars, emit_json, err, name_rejects, out
from nelbo.cli.options import DeviceOption
from nelbo.codec import Bitstream, CodecReport, ProgressiveCodec, RawImage, cut_to_error, report_files
from nelbo.data import Picture, Reject, read_pictures
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.files import check_target, write_bytes
from nelbo.runs import DiffusionRun, load_as

TOGETHER = 64  # images that go through the network at once
File = Bitstream | RawImage


def compress(
    images: Annotated[str, typer.Argument(help="An image, a folder of images, .npy, .npz, or the name of a data set.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A run folder, or a bundled model such as fashion-mnist.")
    ],
    target: Annotated[
        Path | None, typer.Option("--out", "-o", help="The file to write, or a folder for several images.")
    ] = None,
    effort: Annotated[int, typer.Option(min=1, max=9, help="Of a chunk; above 5 little is won.")] = 5,
    lossy_only: Annotated[bool, typer.Option("--lossy-only", help="Stop where the channel does.")] = False,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Cut each file to so many bytes: a lossy image.")] = None,
    rmse: Annotated[float | None, typer.Option(min=0, help="Cut each file where the error is so small: lossy.")] = None,
    num: Annotated[int | None, typer.Option(min=1, help="Only so many images, evenly spread.")] = None,
    report: Annotated[
        bool, typer.Option("--report", help="Compare the bytes with the bound on the same images.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write sizes and report as JSON (- for standard output).")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles a pass through the network.")] = 8,
    device: DeviceOption = None,
) -> None:
    """Store images in about the bits that the model's bound promises; lossless unless told otherwise.

    Any beginning of a file is a picture already. The receiver needs the same model. An image that the model can't
    shorten is stored as it is.
    """
    lossy = [
        flag for flag, given in (("--lossy-only", lossy_only), ("--max-bytes", max_bytes), ("--rmse", rmse)) if given
    ]
    if len(lossy) > 1:
        raise ConfigurationError(f"{' and '.join(lossy)} each say where a file ends; leave all but one of them out.")
    if report and lossy:
        raise ConfigurationError(f"--report is of lossless files; leave {lossy[0]} out.")
    if target is None and not report:
        raise ConfigurationError("name the file or folder to write by --out, or ask for a --report.")
    run = load_as(DiffusionRun, model, device=device)
    codec = run.codec(batch_size)
    rejects: list[Reject] = []
    pictures = list(_readable(read_pictures(images, num), run, rejects))
    if not pictures:
        name_rejects(rejects)
        raise DataError(f"{images} has no image that {model} can compress.")
    if report:
        _check_sizes(run, pictures)
    places = None if target is None else _places(target, images, pictures)
    cut = _Cut(codec, max_bytes, rmse)
    files: list[File] = []
    with bars() as bar:
        for picture, file in zip(pictures, _encoded(codec, pictures, effort, lossy_only, not lossy, bar), strict=True):
            files.append(cut(file, picture))
            if places is not None:
                write_bytes(places[len(files) - 1], files[-1].to_bytes())
    found = _reported(run, codec, pictures, files) if report else None
    _tell(pictures, files, found, json)
    name_rejects(rejects, "")
    _tell_losses(pictures)


@dataclass(frozen=True)
class _Cut:
    """Where a file ends, if not with its last byte."""

    codec: ProgressiveCodec
    max_bytes: int | None
    rmse: float | None

    def __call__(self, file: File, picture: Picture) -> File:
        """The file, or its beginning; one that is stored as it is has none."""
        if isinstance(file, RawImage):
            return file
        if self.max_bytes is not None:
            return file.cut(self.max_bytes)
        return file if self.rmse is None else cut_to_error(self.codec, file, picture.pixels, self.rmse)


def _readable(found: Iterable[Picture | Reject], run: DiffusionRun, rejects: list[Reject]) -> Iterator[Picture]:
    """The pictures of the model's kind; the others are rejects by name."""
    for each in found:
        if isinstance(each, Reject):
            rejects.append(each)
        elif len(each.pixels) != run.shape[0]:
            kinds = {1: "grey", 3: "in colour"}
            theirs, ours = kinds.get(len(each.pixels), "?"), kinds.get(run.shape[0], "of points")
            rejects.append(Reject(each.name, f"{theirs}, and the model's images are {ours}"))
        else:
            yield each


def _encoded(
    codec: ProgressiveCodec, pictures: list[Picture], effort: int, lossy: bool, raw: bool, bar: Bars
) -> Iterator[File]:
    """Files of all pictures, some at a time."""
    for first in range(0, len(pictures), TOGETHER):
        some = pictures[first : first + TOGETHER]

        def moved(done: int, total: int, first: int = first, num: int = len(some)) -> None:
            bar("compressing", first * total + done * num, len(pictures) * total)

        yield from codec.encode(
            [p.pixels for p in some], effort=effort, lossless=not lossy, verify=raw, raw=raw, progress=moved
        )


def _places(target: Path, images: str, pictures: list[Picture]) -> list[Path]:
    """Where each file is to be: at the path itself for one, in a folder for several, each under its own name.

    Raises:
        ConfigurationError: a name that is not a .nelbo file's, or that of an image.
        RunError: a file cannot stand there.
    """
    if len(pictures) == 1 and not Path(images).is_dir() and not target.is_dir():
        if target.suffix != ".nelbo":
            raise ConfigurationError(f"--out {target} must end in .nelbo.")
        places = [target]
    else:
        names = [Path(picture.name).stem for picture in pictures]
        if len(set(names)) < len(names):
            names = [f"{i:05d}-{name}" for i, name in enumerate(names)]
        places = [target / f"{name}.nelbo" for name in names]
    given = {Path(picture.path).resolve() for picture in pictures if picture.path is not None}
    for place in places:
        check_target(place)
        if place.resolve() in given:
            raise ConfigurationError(f"{place} would overwrite the image that it is made of; name another --out.")
    return places


def _check_sizes(run: DiffusionRun, pictures: list[Picture]) -> None:
    """Check that all images are of the model's own size.

    Raises:
        ShapeError: one is not.
    """
    for picture in pictures:
        if tuple(picture.pixels.shape) != run.shape:
            raise ShapeError(
                f"--report compares with the bound of images of the model's own size, {run.shape} (C x H x W), and "
                f"{picture.name} is {tuple(picture.pixels.shape)}; leave --report or that image out."
            )


def _reported(run: DiffusionRun, codec: ProgressiveCodec, pictures: list[Picture], files: list[File]) -> CodecReport:
    """The report, for images of the model's own size."""
    levels = torch.stack([picture.pixels for picture in pictures])
    with bars() as bar:
        bound = run.bound(levels, steps_per_image=32, progress=lambda done, total: bar("the bound", done, total))
    return report_files(codec, files, levels, bound.total)


def _tell_losses(pictures: list[Picture]) -> None:
    """What was lost before anything was compressed: the first few by name, the rest by number."""
    changed = [picture for picture in pictures if picture.lost]
    for picture in changed[:NAMED]:
        err.print(f"note: {picture.name}: {picture.lost}; that is what comes back", highlight=False, soft_wrap=True)
    if len(changed) > NAMED:
        err.print(f"note: and so with {len(changed) - NAMED} more", highlight=False, soft_wrap=True)


def _tell(pictures: list[Picture], files: list[File], found: CodecReport | None, json: Path | None) -> None:
    """Sizes, and the report."""
    sizes = [len(file.to_bytes()) for file in files]
    dims = sum(picture.pixels.numel() for picture in pictures)
    rows = [
        {
            "image": picture.name,
            "bytes": size,
            "bits_per_dim": 8 * size / picture.pixels.numel(),
            "raw": isinstance(f, RawImage),
        }
        for picture, size, f in zip(pictures, sizes, files, strict=True)
    ]
    if json is not None:
        emit_json(
            {"files": rows, "report": None if found is None else found.to_json(), "version": nelbo.__version__}, json
        )
    if str(json) == "-":
        return
    raw = sum(isinstance(file, RawImage) for file in files)
    out.print(
        f"{len(files)} image{'s' if len(files) > 1 else ''}, {sum(sizes):,} bytes, {8 * sum(sizes) / dims:.4f} bits/dim"
        f"{f'; {raw} stored as they are' if raw else ''}",
        highlight=False,
    )
    if found is not None:
        _show(found)


def _show(report: CodecReport) -> None:
    table = Table(title=f"{report.num_images} images", title_justify="left")
    table.add_column("part")
    table.add_column("bits/dim", justify="right")
    for name, value in (
        ("header, checks and hash", report.header),
        ("KL of the steps that are sent", report.divergence),
        (f"channel's overhead ({report.chunks:.1f} chunks an image)", report.channel - report.divergence),
        ("lossless end", report.end),
        ("files", report.total),
        ("bound of the chain that is sent", report.strided_bound),
        ("bound of all steps", report.bound),
    ):
        table.add_row(name, f"{value:.4f}")
    out.print(table)
    err.print(
        f"the files take {report.total / report.bound:.3f} times the bound, {report.total / report.strided_bound:.3f} "
        "times that of the chain that is sent",
        highlight=False,
    )
