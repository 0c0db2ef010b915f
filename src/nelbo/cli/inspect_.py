"""`nelbo inspect`: the parts of a .nelbo file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nelbo.cli.compressed import read_file
from nelbo.cli.console import out, show
from nelbo.cli.options import DeviceOption, FileModelOption, JsonOption
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.codec import Bitstream, RawImage, Segment
    from nelbo.data.names import Range


def inspect_(
    file: Annotated[Path, typer.Argument(help=".nelbo file.")],
    model: FileModelOption = None,
    original: Annotated[str | None, typer.Option(help="Original image, to show the RMSE after each part.")] = None,
    json: JsonOption = None,
    device: DeviceOption = None,
) -> None:
    """Show the parts of a .nelbo file, in the order in which they are stored."""
    check_outputs({"--json": json}, [file, original], model)
    from nelbo.codec import RawImage, segments
    from nelbo.runs import codec_for, codes_photographs, find_codec, find_model, read_config

    stream = read_file(file)
    if isinstance(stream, RawImage):
        _show_raw(file, stream, None if original is None else _only_image(original, None), json)
        return
    folder = find_codec(model) if model else find_model(stream.fingerprint)
    codec = codec_for(folder, stream.fingerprint, device=device)
    limits = None if codes_photographs(folder) else read_config(folder).data.range
    pixels = None if original is None else _only_image(original, limits)
    parts = segments(codec, stream, pixels)
    height, width = stream.size or codec.shape[1:]
    if prints_table(json):
        show(f"{file}: {_kind(stream)}, {width}x{height}, model {folder} {_summary(stream)}")
        out.print(_table(parts, with_error=pixels is not None))
    write_results(versioned(_plain(stream, (height, width), parts)), json)


def _show_raw(file: Path, image: RawImage, original: Tensor | None, json: Path | None) -> None:
    """Print and write what there is to say about an image that is stored without the model: it has no parts."""
    from nelbo.codec import rmse

    _, height, width = image.pixels.shape
    error = None if original is None else rmse(image.pixels, original)
    if prints_table(json):
        ending = "" if error is None else f", RMSE {error:.2f}"
        show(f"{file}: lossless, {width}x{height}, stored without the model, so it has no parts{ending}")
    shown = {} if error is None else {"rmse": error}
    write_results(versioned({"kind": "raw", "shape": list(image.pixels.shape), **shown}), json)


def _kind(stream: Bitstream) -> str:
    return "lossless" if stream.pixel_hash else "lossy"


def _plain(stream: Bitstream, size: tuple[int, int], parts: list[Segment]) -> dict[str, object]:
    """The properties and parts of a file as plain values."""
    return {
        "kind": _kind(stream),
        "size": list(size),
        "effort": stream.effort,
        "fingerprint": stream.fingerprint.hex(),
        "truncated": stream.truncated,
        "segments": [part.to_json() for part in parts],
    }


def _summary(stream: Bitstream) -> str:
    """The properties of a file that its header states."""
    truncated = f", truncated: {len(stream.message)} of {stream.length} bytes of its message"
    return f"({stream.fingerprint.hex()}), effort {stream.effort}{truncated if stream.truncated else ''}"


def _table(parts: list[Segment], with_error: bool) -> Table:
    """One row per part."""
    table = Table()
    table.add_column("part")
    for column in ("chunks", "expected bits", "bits", "bytes so far", *(["RMSE"] if with_error else [])):
        table.add_column(column, justify="right")
    for part in parts:
        expected = "" if part.expected_bits is None else f"{part.expected_bits:.0f}"
        error = ["" if part.rmse is None else f"{part.rmse:.2f}"] if with_error else []
        table.add_row(part.name, str(part.chunks or ""), expected, str(part.bits), str(part.end), *error)
    return table


def _only_image(spec: str, limits: Range | None) -> Tensor:
    """Read the one image that a path names.

    Args:
        limits: the values that become black and white in an image of more than 8 bits; None for those of its depth.

    Raises:
        ConfigurationError: there is none, or several.
    """
    from nelbo.data import Reject, read_pictures

    found = list(read_pictures(spec, 2, limits=limits))
    if len(found) != 1 or isinstance(found[0], Reject):
        raise ConfigurationError(f"--original must be one image, and {spec} is not.")
    return found[0].pixels
