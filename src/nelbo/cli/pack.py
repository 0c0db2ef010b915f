"""`nelbo pack`: many images in one archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import bars, name_rejects, show
from nelbo.cli.options import ModelOption
from nelbo.cli.outputs import check_outputs
from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.codec.archive_file import Member
    from nelbo.data import Picture, Reject
    from nelbo.runs import DataOptions


def pack(
    images: Annotated[str, typer.Argument(help="Folder of images, .npy or .npz file, or a built-in data set.")],
    model: ModelOption,
    target: Annotated[Path, typer.Option("--out", "-o", help="Archive to write (.nelbos).")],
    num: Annotated[
        int | None, typer.Option(min=1, help="Number of images, evenly spaced in the data set; all by default.")
    ] = None,
) -> None:
    """Pack images into one archive, losslessly, in the bits that the bound of the model promises.

    The model needs `nelbo codec --archive` once. Names and times of files are kept. If the command was interrupted, run
    it again: complete blocks are kept. Exit code 1: an image was skipped.
    """
    if target.suffix != ".nelbos":
        raise ConfigurationError(f"--out {target} must end in .nelbos.")
    check_outputs({"--out": target}, [images], model)
    from nelbo.runs import find_run, read_config
    from nelbo.runs.archive import load_archive
    from nelbo.runs.archive import pack as write

    folder = find_run(model)
    codec, data = load_archive(folder), read_config(folder).data
    rejects: list[Reject] = []
    with bars() as bar:
        report = write(_members(images, num, data, rejects), codec, target, bar)
    for name, text in report.summary().items():
        show(f"{name}: {text}")
    name_rejects(rejects, "")
    if rejects:
        raise typer.Exit(1)


def _members(images: str, num: int | None, data: DataOptions, rejects: list[Reject]) -> Iterator[tuple[Member, Tensor]]:
    """Read images one by one; those that the model cannot code are added to `rejects`."""
    from nelbo.data import Reject, read_pictures

    for found in read_pictures(images, num, limits=data.range):
        if isinstance(found, Reject):
            rejects.append(found)
        elif len(found.pixels) != data.shape[0]:
            kinds = {1: "grey", 3: "in colour"}
            reason = f"{kinds.get(len(found.pixels))}, and the model's images are {kinds.get(data.shape[0], 'points')}"
            rejects.append(Reject(found.path or found.name, reason))
        else:
            yield _member(found, images), found.pixels


def _member(picture: Picture, images: str) -> Member:
    """Return the name of an image relative to the folder that is packed, its size, its class and its time."""
    from nelbo.codec.archive_file import Member
    from nelbo.paths import expanded

    _, height, width = picture.pixels.shape
    if picture.path is None:
        return Member(picture.name, height, width, picture.label or None)
    folder, path = expanded(images), Path(picture.path)
    inside = path.parent.relative_to(folder) if folder.is_dir() else Path()
    return Member((inside / picture.name).as_posix(), height, width, None, int(path.stat().st_mtime))
