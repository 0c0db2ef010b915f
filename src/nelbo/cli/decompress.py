"""`nelbo decompress` and `nelbo inspect`: .nelbo files as pictures, and what they are made of."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.table import Table
from torch import Tensor

import nelbo
from nelbo.cli.compress import TOGETHER, File
from nelbo.cli.console import Bars, bars, emit_json, err, out
from nelbo.cli.options import DeviceOption
from nelbo.codec import Bitstream, Decoded, ProgressiveCodec, RawImage, segments
from nelbo.data import Reject, read_pictures
from nelbo.errors import CodecError, ConfigurationError, DataError, NelboError
from nelbo.plots import save
from nelbo.runs import DiffusionRun, find_model, load_as


def decompress(
    files: Annotated[Path, typer.Argument(help="A .nelbo file, or a folder of them.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="The picture to write (.png), or a folder.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The run that made it; found by its fingerprint if absent.")
    ] = None,
    max_bytes: Annotated[int | None, typer.Option("--bytes", min=1, help="Use only so many bytes: a preview.")] = None,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Draw what a damaged file tells; its picture may be wrong from anywhere on."),
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Tiles a pass through the network.")] = 8,
    device: DeviceOption = None,
) -> None:
    """Bring back the pixels of .nelbo files, or the picture that a part of one tells.

    A folder's files are brought back one by one: what is wrong with one is no matter to the others. The exit code is 2
    where a file gives no picture, and 1 where one is cut short and gives a preview that nobody asked for.
    """
    paths = sorted(files.glob("*.nelbo")) if files.is_dir() else [files]
    if not paths:
        raise DataError(f"{files} has no .nelbo files.")
    alone = not files.is_dir() and not target.is_dir()
    wrong: dict[Path, NelboError] = {}
    groups: dict[bytes, dict[Path, File]] = {}
    for path in paths:
        try:
            file = _opened(path, max_bytes, unverified)
            groups.setdefault(b"" if isinstance(file, RawImage) else file.fingerprint, {})[path] = file
        except NelboError as error:
            wrong[path] = error
    short = 0
    with bars() as bar:
        for start, members in groups.items():
            for path, found in _decoded(start, members, model, device, batch_size, not unverified, bar):
                if isinstance(found, NelboError):
                    wrong[path] = found
                    continue
                save(_picture(found.image), target if alone else target / f"{path.stem}.png")
                short += _remark(path, members[path], found, max_bytes)
    for path, problem in wrong.items():
        err.print(f"error: {_named(path, problem)}", highlight=False, soft_wrap=True)
    if wrong:
        raise typer.Exit(2)
    if short:
        raise typer.Exit(1)


def _opened(path: Path, max_bytes: int | None, unverified: bool) -> File:
    """A file, checked against its own sum, or the beginning of one."""
    file = read_file(path)
    if isinstance(file, RawImage):
        if max_bytes is not None:
            err.print(
                f"note: {path} is stored as it is and has no previews; --bytes is of no account",
                highlight=False,
                soft_wrap=True,
            )
        return file
    if not unverified:
        file.verify()
    return file if max_bytes is None else file.first(max_bytes)


def _decoded(
    start: bytes,
    files: dict[Path, File],
    model: str | None,
    device: str | None,
    batch_size: int,
    verify: bool,
    bar: Bars,
) -> Iterator[tuple[Path, Decoded | NelboError]]:
    """What each of the files of one model gives, some at a time; where some fail, each is tried by itself."""
    streams = {path: file for path, file in files.items() if isinstance(file, Bitstream)}
    yield from (
        (path, Decoded(file.pixels, "lossless", len(file.to_bytes())))
        for path, file in files.items()
        if isinstance(file, RawImage)
    )
    if not streams:
        return
    try:
        codec = load_as(DiffusionRun, model or find_model(start), device=device).codec(batch_size)
    except NelboError as error:
        if model is not None:  # one mistake, and not each file's
            raise
        yield from ((path, error) for path in streams)
        return
    for first in range(0, len(streams), TOGETHER):
        some = dict(list(streams.items())[first : first + TOGETHER])
        try:
            found: Sequence[Decoded | NelboError] = codec.decode(
                list(some.values()), verify=verify, progress=lambda done, total: bar("decompressing", done, total)
            )
        except NelboError:
            found = [_alone(codec, file, verify) for file in some.values()]
        yield from zip(some, found, strict=True)


def _alone(codec: ProgressiveCodec, file: File, verify: bool) -> Decoded | NelboError:
    try:
        return codec.decode([file], verify=verify)[0]
    except NelboError as error:
        return error


def _named(path: Path, error: NelboError) -> str:
    """The error, and which file it is of."""
    return str(error) if str(error).startswith(str(path)) else f"{path}: {error}"


def _remark(path: Path, file: File, found: Decoded, max_bytes: int | None) -> bool:
    """What is to be known of a picture that is not simply exact; whether its file is shorter than it should be."""
    if found.status == "unverified":
        err.print(f"{path}: unverified: this picture may be wrong", highlight=False, soft_wrap=True)
    elif found.status == "truncated" and isinstance(file, Bitstream):
        cut = "as asked" if max_bytes is not None else "the file is cut short"
        have = len(file.message) + file.overhead
        err.print(
            f"{path}: a preview from {have} of {file.length + file.overhead} bytes ({cut}), which nothing can check",
            highlight=False,
            soft_wrap=True,
        )
        return max_bytes is None
    return False


def inspect(
    file: Annotated[Path, typer.Argument(help="A .nelbo file.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The run that made it; found by its fingerprint if absent.")
    ] = None,
    original: Annotated[
        str | None, typer.Option(help="The image that it was made of: adds the error of each part.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write everything as JSON (- for standard output).")] = None,
    device: DeviceOption = None,
) -> None:
    """Show what a .nelbo file is made of, from coarse to fine."""
    stream = read_file(file)
    if isinstance(stream, RawImage):
        if original is not None:
            raise ConfigurationError(f"{file} is stored as it is and has no parts; leave --original out.")
        if str(json) != "-":
            out.print(f"{file}: {tuple(stream.pixels.shape)} pixels (C x H x W) stored as they are", highlight=False)
        emit_json({"kind": "raw", "shape": list(stream.pixels.shape), "version": nelbo.__version__}, json)
        return
    stream.verify()
    run = load_as(DiffusionRun, model or find_model(stream.fingerprint), device=device)
    pixels = None if original is None else _only(original)
    parts = segments(run.codec(), stream, pixels)
    kind = "lossless" if stream.pixel_hash else "lossy"
    size = stream.size or run.shape[1:]
    if json is not None:
        told = {"kind": kind, "size": list(size), "effort": stream.effort, "fingerprint": stream.fingerprint.hex()}
        told["truncated"] = stream.truncated
        emit_json({**told, "segments": [part.to_json() for part in parts], "version": nelbo.__version__}, json)
    if str(json) == "-":
        return
    cut = f", cut short: {len(stream.message)} of {stream.length} bytes of its message" if stream.truncated else ""
    out.print(
        f"{file}: {kind}, {size[1]}x{size[0]}, model {run.folder} ({stream.fingerprint.hex()}), effort "
        f"{stream.effort}{cut}",
        highlight=False,
        soft_wrap=True,
    )
    table = Table()
    for column in (
        "part",
        "chunks",
        "expected bits",
        "bits",
        "bytes so far",
        *(["RMSE"] if pixels is not None else []),
    ):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in parts:
        expected = "" if part.expected_bits is None else f"{part.expected_bits:.0f}"
        error = [] if part.rmse is None and pixels is None else ["" if part.rmse is None else f"{part.rmse:.2f}"]
        table.add_row(part.name, str(part.chunks or ""), expected, str(part.bits), str(part.end), *error)
    out.print(table)


def read_file(path: Path) -> File:
    """A .nelbo file.

    Raises:
        DataError: there is none of that name.
        CodecError: it is none.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        return Bitstream.from_bytes(content)
    except CodecError as error:
        raise CodecError(f"{path}: {error}") from error


def _only(spec: str) -> Tensor:
    """The one image of a name."""
    found = list(read_pictures(spec))
    if len(found) != 1 or isinstance(found[0], Reject):
        raise ConfigurationError(f"--original must be one image, and {spec} is not.")
    return found[0].pixels


def _picture(image: Tensor) -> Image.Image:
    pixels = image.permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else np.ascontiguousarray(pixels))
