"""`nelbo decompress`: .nelbo files as images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.compressed import batches, read_file, some
from nelbo.cli.console import bars, say
from nelbo.cli.decompress_targets import holds, save_new, targets_of
from nelbo.cli.flags import flags_of
from nelbo.cli.measured import decompress_measured
from nelbo.cli.options import DeviceOption, FileModelOption, TilesOption
from nelbo.errors import CodecError, ConfigurationError, DataError, NelboError
from nelbo.progress import Bars

if TYPE_CHECKING:
    from nelbo.cli.compressed import File
    from nelbo.codec import Bitstream, Decoded, ProgressiveCodec

    Outcome = Decoded | NelboError
    Found = tuple[Path, File | None, Outcome]
    Group = dict[Path, tuple[int, int] | None]  # the size that each file states; None for that of its model


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
    target: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Output image (.png, .webp, .bmp, .tiff; measured values: .tif, .npy), or a folder for several files.",
        ),
    ],
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

    Existing images are never replaced: the command keeps those that have the same pixels, and refuses others before it
    decodes. So an interrupted command can be repeated. If a file cannot be decoded, the others are still processed.
    Exit code 2: a file could not be decoded. Exit code 1: a file is truncated and gave only a preview, and --bytes was
    not set.
    """
    if not files.exists():  # before the output, whose ending may be wrong too
        raise DataError(f"{files} cannot be read: no such file or directory.")
    paths = sorted(files.glob("*.nelbo")) if files.is_dir() else [files]
    if not paths:
        raise DataError(f"{files} has no .nelbo files.")
    measured = [path for path in paths if _is_measured(path)]
    if measured and len(measured) == len(paths):
        if code := decompress_measured(paths, target, model, not unverified, max_bytes, device):
            raise typer.Exit(code)
        return
    if measured:
        raise DataError(
            f"{files} has {len(measured)} files of measured values and {len(paths) - len(measured)} of pictures; put "
            "them into folders of their own."
        )
    targets = targets_of(paths, target, several=files.is_dir() or target.is_dir())
    options = _Options(model, max_bytes, not unverified, batch_size, device)
    groups, failed, kept = _to_decode(targets, options)
    _say_kept(kept, len(paths))
    same = truncated = 0
    with bars() as bar:
        for fingerprint, group in groups.items():
            for path, file, outcome in _decoded(fingerprint, group, options, bar):
                if isinstance(outcome, NelboError):
                    failed[path] = outcome
                    continue
                try:
                    same += not save_new(outcome.image, targets[path])
                except ConfigurationError as taken:
                    failed[path] = taken
                else:
                    truncated += _unrequested_preview(path, file, outcome, options)
    _say_kept(same, len(paths))
    for path, error in failed.items():
        say(f"error: {_with_path(path, error)}")
    if failed:
        raise typer.Exit(2)
    if truncated:
        raise typer.Exit(1)


def _is_measured(path: Path) -> bool:
    """Return whether a file holds measured values."""
    from nelbo.codec.measured_file import is_measured

    try:
        with path.open("rb") as file:
            return is_measured(file.read(2))
    except OSError:  # `read_file` reports it
        return False


def _say_kept(kept: int, total: int) -> None:
    if kept:
        say(f"{kept} of {total} images exist already with the same pixels and are kept")


def _to_decode(targets: dict[Path, Path], options: _Options) -> tuple[dict[bytes, Group], dict[Path, NelboError], int]:
    """Read all files once.

    Returns:
        The files to decode by their model's fingerprint (b"" for raw images); the errors of those that cannot be read;
        and the number of files whose images exist.

    Raises:
        ConfigurationError: other images exist where the files would be decoded to.
    """
    from nelbo.codec import RawImage

    groups: dict[bytes, Group] = {}
    failed: dict[Path, NelboError] = {}
    others, kept = [], 0
    for path, target in targets.items():
        try:
            file = _opened(path, options)
        except NelboError as error:
            failed[path] = error
            continue
        if isinstance(file, RawImage) and options.max_bytes is not None:
            say(f"note: {path} is stored without the model and has no previews; --bytes has no effect on it")
        exists = holds(target, file) if target.exists() else None
        if exists:
            kept += 1
        elif exists is False:
            others.append(target)
        elif isinstance(file, RawImage):
            groups.setdefault(b"", {})[path] = None
        else:
            groups.setdefault(file.fingerprint, {})[path] = file.size
    if others:
        raise ConfigurationError(
            f"{len(others)} of {len(targets)} images exist already and are others ({some(others)}), perhaps the "
            "originals; choose another --out, or delete them."
        )
    return groups, failed, kept


def _opened(path: Path, options: _Options) -> File:
    """Read a file, check it against its own checksum unless --unverified is given, and cut it to --bytes."""
    from nelbo.codec import RawImage

    file = read_file(path, verify=options.verify)
    return file if options.max_bytes is None or isinstance(file, RawImage) else file.first(options.max_bytes)


def _decoded(fingerprint: bytes, group: Group, options: _Options, bar: Bars) -> Iterator[Found]:
    """Decode the files of one model, or raw ones.

    Raises:
        NelboError: --model cannot be used. It is one mistake of the user, not an error of each file.
    """
    from nelbo.runs import codec_for, find_codec, find_model

    if not fingerprint:
        for path in group:
            yield _raw(path, options)
        return
    try:
        folder = find_codec(options.model) if options.model else find_model(fingerprint)
        codec = codec_for(folder, fingerprint, options.batch_size, options.device)
    except NelboError as error:
        if options.model is not None and not isinstance(error, CodecError):  # another model made these files
            raise
        yield from ((path, None, error) for path in group)
        return
    for paths in batches(group, lambda path: codec.shape[0] * math.prod(group[path] or codec.shape[1:])):
        yield from _by_codec(codec, paths, options, bar)


def _raw(path: Path, options: _Options) -> Found:
    """Read a file that is stored without a model."""
    from nelbo.codec import Decoded, RawImage

    try:
        file = _opened(path, options)
    except NelboError as error:
        return path, None, error
    if not isinstance(file, RawImage):
        return path, None, _changed(path)
    return path, file, Decoded(file.pixels, "lossless", len(file.to_bytes()))


def _by_codec(codec: ProgressiveCodec, paths: list[Path], options: _Options, bar: Bars) -> Iterator[Found]:
    """Decode files together, or one by one if that fails."""
    from nelbo.codec import Bitstream

    files: dict[Path, Bitstream] = {}
    for path in paths:
        try:
            file = _opened(path, options)
        except NelboError as error:
            yield path, None, error
            continue
        if isinstance(file, Bitstream):
            files[path] = file
        else:
            yield path, None, _changed(path)
    verify, together = options.verify, list(files.values())
    try:
        outcomes: Sequence[Outcome] = codec.decode(together, verify=verify, progress=bar.of("decompressing"))
    except NelboError:
        outcomes = [_one_by_codec(codec, file, verify) for file in together]
    for (path, file), outcome in zip(files.items(), outcomes, strict=True):
        yield path, file, outcome


def _changed(path: Path) -> DataError:
    return DataError(f"{path} has changed since the command began; run it again.")


def _one_by_codec(codec: ProgressiveCodec, file: Bitstream, verify: bool) -> Outcome:
    try:
        return codec.decode([file], verify=verify)[0]
    except NelboError as error:
        return error


def _with_path(path: Path, error: NelboError) -> str:
    """Write an error with the path of its file."""
    text = error.message(flags_of("decompress"))
    return text if text.startswith(str(path)) else f"{path}: {text}"


def _unrequested_preview(path: Path, file: File | None, outcome: Decoded, options: _Options) -> bool:
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
