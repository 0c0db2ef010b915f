"""`nelbo unpack` and `nelbo list`: the images of an archive."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nelbo.cli.console import bars, out, say, show
from nelbo.cli.options import FileModelOption, JsonOption
from nelbo.cli.outputs import check_outputs
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.display import counted
from nelbo.errors import CodecError, ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.codec.archive_index import Member
    from nelbo.runs.archive import Archive

MOST_SHOWN = 20  # images of a list, without --json


def unpack(
    archive: Annotated[Path, typer.Argument(help="Archive (.nelbos).")],
    target: Annotated[Path, typer.Option("--out", "-o", help="Folder for the images, as PNG.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Path of an image in the archive, to unpack only this one; repeatable."),
    ] = None,
    model: FileModelOption = None,
) -> None:
    """Unpack the images of an archive.

    Existing images are never replaced: those with the same pixels are kept, and others are refused. A damaged block
    loses only its own images. Exit code 2: images are lost.
    """
    from nelbo.paths import check_folder
    from nelbo.runs.archive import Archive, codec_of

    opened = Archive.open(archive)
    check_folder(target)
    codec, targets = codec_of(opened, model), opened.targets(target)
    wanted = set(only or targets)
    if unknown := sorted(wanted - targets.keys()):
        raise ConfigurationError(f"{archive} has no image {unknown[0]}; `nelbo list {archive}` shows the names.")
    blocks = [block for block in opened.contents.blocks if any(member.path in wanted for member in block.members)]
    saved = kept = lost = 0
    with bars() as bar:
        for number, block in enumerate(blocks):
            bar("unpacking", number, len(blocks))
            try:
                images = opened.read(block, codec, bar.of(f"block {number + 1} of {len(blocks)}"))
            except CodecError as error:
                say(f"error: {error}")
                lost += sum(member.path in wanted for member in block.members)
                continue
            for member, image in zip(block.members, images, strict=True):
                if member.path in wanted:
                    new = _save(image, member, targets[member.path], target)
                    saved, kept = saved + new, kept + (not new)
        bar("unpacking", len(blocks), len(blocks))
    if kept:
        say(f"{kept} of {len(wanted)} images exist already with the same pixels and are kept")
    show(f"unpacked {counted(saved, 'image')} into {target}")
    if unnamed := len(opened.members) - len(targets):
        say(f"error: {counted(unnamed, 'image')} cannot be written, because the names lead out of the folder")
    if lost + (0 if only else unnamed + _say_missing(opened)):
        raise typer.Exit(2)


def _save(image: Tensor, member: Member, path: Path, folder: Path) -> bool:
    """Write an image with the time of its member. Returns false if it exists already.

    Raises:
        ConfigurationError: another image is there, or a folder on the way is a link.
    """
    from nelbo.cli.decompress_targets import save_new

    for part in (path, *path.parents):
        if part == folder:
            break
        if part.is_symlink():
            raise ConfigurationError(f"{part} is a link, and {member.path} would be written through it; remove it.")
    new = save_new(image, path)
    if new and member.time is not None:
        with suppress(OSError, OverflowError):  # a time that this system does not know
            os.utime(path, (member.time, member.time))
    return new


def _say_missing(archive: Archive) -> int:
    """Say what a damaged archive lacks, and return the number of lost images: 1 if that is unknown."""
    contents = archive.contents
    if contents.complete:
        return 0
    if contents.lost:
        say(f"error: {contents.lost} images are lost: their blocks are damaged")
    else:
        say(f"error: {archive.path} is cut short or damaged: it has no end, so images may be missing")
    return contents.lost or 1


def list_(
    archive: Annotated[Path, typer.Argument(help="Archive (.nelbos).")],
    json: JsonOption = None,
) -> None:
    """List the images of an archive, without decoding them."""
    check_outputs({"--json": json}, [str(archive)], None)
    from nelbo.runs.archive import Archive

    opened = Archive.open(archive)
    members = opened.members
    if prints_table(json):
        out.print(_table(opened, members))
    write_results(
        versioned(
            {
                "archive": str(archive),
                "model": opened.fingerprint.hex(),
                "complete": opened.contents.complete,
                "images": [{"path": member.path, **vars(member)} for member in members],
            }
        ),
        json,
    )
    if _say_missing(opened):
        raise typer.Exit(1)


def _table(archive: Archive, members: list[Member]) -> Table:
    num_blocks, num_bytes = len(archive.contents.blocks), archive.path.stat().st_size
    title = f"{counted(len(members), 'image')} in {counted(num_blocks, 'block')}, {num_bytes:,} bytes"
    table = Table(title=title, title_justify="left")
    for name in ("image", "size"):
        table.add_column(name, overflow="fold")
    for member in members[:MOST_SHOWN]:
        table.add_row(member.path, f"{member.width} x {member.height}")
    if len(members) > MOST_SHOWN:
        table.add_row("...", "")
    return table
