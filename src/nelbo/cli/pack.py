"""`nelbo pack`: many images in one archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nelbo.cli.console import MOST_NAMED, bars, name_rejects, say, show
from nelbo.cli.engine import AddressOption, EngineOption, WorkersOption
from nelbo.cli.options import ModelOption
from nelbo.cli.outputs import check_outputs
from nelbo.engines.options import PROCESS, EngineOptions
from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.codec.archive_index import Member
    from nelbo.data import Picture, Reject
    from nelbo.runs import DataOptions


def pack(
    images: Annotated[
        str,
        typer.Argument(
            help="Image, folder of images, .npy or .npz file, or a built-in data set, of which the held-out images are "
            "packed."
        ),
    ],
    model: ModelOption,
    target: Annotated[Path, typer.Option("--out", "-o", help="Archive to write (.nelbos).")],
    num: Annotated[
        int | None, typer.Option(min=1, help="Number of images, evenly spaced in the data set; all by default.")
    ] = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
) -> None:
    """Pack images into one archive, losslessly, in the bits that the bound of the model promises.

    The model needs `nelbo codec --integers` once. Names and times of files are kept. If the command was interrupted,
    run it again: complete blocks are kept. Exit code 1: an image was skipped.
    """
    if target.suffix != ".nelbos":
        raise ConfigurationError(f"--out {target} must end in .nelbos.")
    options = EngineOptions(PROCESS if engine is None else engine, workers, address)
    check_outputs({"--out": target}, [images], model)
    from nelbo.engines import pack as write
    from nelbo.runs import find_run, read_config

    data = read_config(find_run(model)).data
    rejects: list[Reject] = []
    changed: list[tuple[str, str]] = []
    with bars() as bar:
        members = _members(images, num, data, rejects, changed)
        report = write(members, model, target, engine=options, progress=bar)
    for name, text in report.summary().items():
        show(f"{name}: {text}")
    for name, lost in changed[:MOST_NAMED]:
        say(f"note: {name}: {lost}; unpacking gives this image back")
    if len(changed) > MOST_NAMED:
        say(f"note: the archive lacks something of {len(changed) - MOST_NAMED} more images")
    name_rejects(rejects, "")
    if rejects:
        raise typer.Exit(1)


def _members(
    images: str, num: int | None, data: DataOptions, rejects: list[Reject], changed: list[tuple[str, str]]
) -> Iterator[tuple[Member, Tensor]]:
    """Read images one by one; `rejects` gets those that the model cannot code, and `changed` what others lack."""
    from nelbo.codec.archive_index import problem_of
    from nelbo.codec.raw_image import LARGEST_IMAGE
    from nelbo.data import Reject, read_pictures

    kinds = {1: "grey", 3: "in colour"}
    for found in read_pictures(images, num, limits=data.range):
        if isinstance(found, Reject):
            rejects.append(found)
            continue
        member, pixels = _member(found, images), found.pixels
        problem = problem_of(member.path)
        if len(pixels) != data.shape[0]:
            problem = f"{kinds.get(len(pixels))}, and the model's images are {kinds.get(data.shape[0], 'points')}"
        elif int(pixels.max()) >= data.levels:
            problem = f"it has a level of {int(pixels.max())}, and the model's levels are 0..{data.levels - 1}"
        elif pixels.numel() > LARGEST_IMAGE:
            problem = f"it has more than {LARGEST_IMAGE:,} values"
        if problem:
            rejects.append(Reject(found.path or found.name, problem))
            continue
        if lost := "; ".join(filter(None, (found.lost, found.metadata))):
            changed.append((member.path, lost))
        yield member, pixels


def _member(picture: Picture, images: str) -> Member:
    """Return the name of an image relative to the folder that is packed, its size, its class and its time."""
    from nelbo.codec.archive_index import Member
    from nelbo.paths import expanded

    _, height, width = picture.pixels.shape
    if picture.path is None:
        return Member(picture.name, height, width, picture.label or None)
    folder, path = expanded(images), Path(picture.path)
    inside = folder.is_dir() and path.is_relative_to(folder)
    name = (path.parent.relative_to(folder) / picture.name).as_posix() if inside else picture.name
    return Member(name, height, width, None, _time_of(path))


def _time_of(path: Path) -> int | None:
    """Return when a file was last changed; None for a member of a container, or a file that has gone."""
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return None
