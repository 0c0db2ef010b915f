"""`nelbo decompress`: .nelbo files as images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.compressed import AT_ONCE, read_file
from nelbo.cli.console import bars, say
from nelbo.cli.flags import flags_of
from nelbo.cli.options import DeviceOption, FileModelOption, TilesOption
from nelbo.errors import CodecError, DataError, NelboError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.cli.compressed import File
    from nelbo.codec import Bitstream, Decoded, ProgressiveCodec

    Outcome = Decoded | NelboError


@dataclass(frozen=True)
class _Options:
    """How to decode; None is an option that was not given."""

    model: str | None
    max_bytes: int | None
    verify: bool
    batch_size: int
    device: str | None


def decompress(
    files: Annotated[Path, typer.Argument(help=".nelbo file, or a folder of .nelbo files.")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Output image (.png), or a folder for several files.")],
    model: FileModelOption = None,
    max_bytes: Annotated[
        int | None,
        typer.Option("--bytes", min=1, help="Decode only this many bytes from the start of each file, as a preview."),
    ] = None,
    unverified: Annotated[
        bool,
        typer.Option("--unverified", help="Also decode damaged files. Any part of such an image may be wrong."),
    ] = False,
    batch_size: TilesOption = 8,
    device: DeviceOption = None,
) -> None:
    """Decode .nelbo files to images. The beginning of a file gives a preview.

    If a file cannot be decoded, the others are still processed. Exit code 2: a file could not be decoded. Exit code 1:
    a file is truncated and gave only a preview, and --bytes was not set.
    """
    paths = sorted(files.glob("*.nelbo")) if files.is_dir() else [files]
    if not paths:
        raise DataError(f"{files} has no .nelbo files.")
    several = files.is_dir() or target.is_dir()
    options = _Options(model, max_bytes, not unverified, batch_size, device)
    groups, failed = _opened(paths, options)
    truncated = 0
    with bars() as bar:
        for fingerprint, group in groups.items():
            for path, outcome in _decoded(fingerprint, group, options, bar):
                if isinstance(outcome, NelboError):
                    failed[path] = outcome
                    continue
                _save(outcome.image, target / f"{path.stem}.png" if several else target)
                truncated += _unrequested_preview(path, group[path], outcome, options)
    for path, error in failed.items():
        say(f"error: {_with_path(path, error)}")
    if failed:
        raise typer.Exit(2)
    if truncated:
        raise typer.Exit(1)


def _opened(paths: list[Path], options: _Options) -> tuple[dict[bytes, dict[Path, File]], dict[Path, NelboError]]:
    """Read files. Returns the readable ones by their model's fingerprint (b"" for raw images), and the errors."""
    from nelbo.codec import RawImage

    groups: dict[bytes, dict[Path, File]] = {}
    failed: dict[Path, NelboError] = {}
    for path in paths:
        try:
            file = _opened_file(path, options)
        except NelboError as error:
            failed[path] = error
        else:
            groups.setdefault(b"" if isinstance(file, RawImage) else file.fingerprint, {})[path] = file
    return groups, failed


def _opened_file(path: Path, options: _Options) -> File:
    """Read a file, check it against its own checksum unless --unverified is given, and cut it to --bytes."""
    from nelbo.codec import RawImage

    file = read_file(path, verify=options.verify)
    if isinstance(file, RawImage):
        if options.max_bytes is not None:
            say(f"note: {path} is stored raw and has no previews; --bytes has no effect on it")
        return file
    return file if options.max_bytes is None else file.first(options.max_bytes)


def _decoded(
    fingerprint: bytes, group: dict[Path, File], options: _Options, bar: Bars
) -> Iterator[tuple[Path, Outcome]]:
    """Decode the files of one model.

    Raises:
        NelboError: --model cannot be used. It is one mistake of the user, not an error of each file.
    """
    from nelbo.codec import Bitstream, Decoded
    from nelbo.runs import DiffusionRun, find_model, load_as

    streams = {path: file for path, file in group.items() if isinstance(file, Bitstream)}
    for path, file in group.items():
        if not isinstance(file, Bitstream):
            yield path, Decoded(file.pixels, "lossless", len(file.to_bytes()))
    if not streams:
        return
    try:
        run = load_as(DiffusionRun, options.model or find_model(fingerprint), device=options.device)
        codec = run.codec(options.batch_size, maker=fingerprint)
    except NelboError as error:
        if options.model is not None and not isinstance(error, CodecError):  # another model made these files
            raise
        yield from ((path, error) for path in streams)
        return
    yield from _by_codec(codec, streams, options.verify, bar)


def _by_codec(
    codec: ProgressiveCodec, streams: dict[Path, Bitstream], verify: bool, bar: Bars
) -> Iterator[tuple[Path, Outcome]]:
    """Decode a batch of files at a time; if a batch fails, decode its files one by one."""
    for first in range(0, len(streams), AT_ONCE):
        batch = dict(list(streams.items())[first : first + AT_ONCE])
        try:
            outcomes: Sequence[Outcome] = codec.decode(
                list(batch.values()), verify=verify, progress=bar.of("decompressing")
            )
        except NelboError:
            outcomes = [_one_by_codec(codec, file, verify) for file in batch.values()]
        yield from zip(batch, outcomes, strict=True)


def _one_by_codec(codec: ProgressiveCodec, file: Bitstream, verify: bool) -> Outcome:
    try:
        return codec.decode([file], verify=verify)[0]
    except NelboError as error:
        return error


def _with_path(path: Path, error: NelboError) -> str:
    """Write an error with the path of its file."""
    text = error.message(flags_of("decompress"))
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _unrequested_preview(path: Path, file: File, outcome: Decoded, options: _Options) -> bool:
    """Print a note if the image is not verified. Returns whether it is a preview because the file is truncated."""
    from nelbo.codec import Bitstream

    if outcome.status == "unverified":
        say(f"{path}: unverified: this image may be wrong")
    elif outcome.status == "truncated" and isinstance(file, Bitstream):
        cause = "the file is truncated" if options.max_bytes is None else "as requested"
        have, total = len(file.message) + file.overhead, file.length + file.overhead
        say(f"{path}: a preview from {have} of {total} bytes ({cause}), which cannot be verified")
        return options.max_bytes is None
    return False


def _save(image: Tensor, path: Path) -> None:
    """Write an image (C, H, W) uint8."""
    from nelbo.plots import save, single_image

    save(single_image(image), path)
