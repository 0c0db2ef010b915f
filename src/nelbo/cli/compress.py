"""`nelbo compress`: images as .nelbo files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import Bars, bars, emit_json, err, name_rejects, out
from nelbo.cli.options import DeviceOption
from nelbo.codec import Bitstream, CodecReport, ProgressiveCodec, RawImage, cut_to_error, report_files
from nelbo.config import DiffusionRun, load_as
from nelbo.data import Picture, Reject, read_pictures
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.files import write_bytes

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
    with bars() as bar:
        files = list(_encoded(codec, pictures, effort, lossy_only, not lossy, bar))
    if max_bytes is not None:
        files = [file.cut(max_bytes) if isinstance(file, Bitstream) else file for file in files]
    if rmse is not None:
        files = [
            cut_to_error(codec, file, picture.pixels, rmse) if isinstance(file, Bitstream) else file
            for file, picture in zip(files, pictures, strict=True)
        ]
    _write(target, images, pictures, files)
    found = _reported(run, codec, pictures, files, batch_size) if report else None
    _tell(pictures, files, found, json)
    name_rejects(rejects, "")


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


def _write(target: Path | None, images: str, pictures: list[Picture], files: list[File]) -> None:
    """One file to the path itself, several into a folder, each under its own name."""
    if target is None:
        return
    alone = len(files) == 1 and not Path(images).is_dir() and not target.is_dir()
    names = [Path(picture.name).name for picture in pictures]
    if not alone and len({Path(name).stem for name in names}) < len(names):
        names = [f"{i:05d}-{name}" for i, name in enumerate(names)]
    for name, file in zip(names, files, strict=True):
        write_bytes(target if alone else target / f"{Path(name).stem}.nelbo", file.to_bytes())


def _reported(
    run: DiffusionRun, codec: ProgressiveCodec, pictures: list[Picture], files: list[File], batch_size: int
) -> CodecReport:
    """The report, for images of the model's own size."""
    if any(tuple(picture.pixels.shape) != run.shape for picture in pictures):
        raise ShapeError(
            f"--report compares with the bound of images of the model's own size, {run.shape} (C x H x W)."
        )
    levels = torch.stack([picture.pixels for picture in pictures])
    with bars() as bar:
        bound = run.bound(levels, steps_per_image=32, progress=lambda done, total: bar("the bound", done, total))
    return report_files(codec, files, levels, bound.total)


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
