"""Checks of the output paths of a command, before its work."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from nelbo.cli.results import STANDARD_OUTPUT
from nelbo.data.names import ARRAY_ENDINGS, IMAGE_ENDINGS
from nelbo.errors import ConfigurationError

TEXTS = ("--json", "--csv")  # the flags that accept "-" for standard output


def check_outputs(
    outputs: Mapping[str, Path | None], inputs: Iterable[str | Path | None] = (), run: str | None = None
) -> None:
    """Check before the work that every output can be written, and that none replaces another one or an input.

    Args:
        outputs: the path of each output by its flag; None for an output that was not requested.
        inputs: the files and data sets that the command reads; None for one that was not given.
        run: the run that the command reads.

    Raises:
        ConfigurationError: two outputs are the same, or one would overwrite an input or a part of the run.
        RunError: a file cannot be written.
    """
    from nelbo.paths import check_target

    sources = [each for each in inputs if each is not None]
    flags: dict[str, str] = {}
    for flag, path in outputs.items():
        if path is None:
            continue
        printed = flag in TEXTS and str(path) == STANDARD_OUTPUT
        place = STANDARD_OUTPUT if printed else os.path.realpath(path)
        if other := flags.get(place):
            both = "both standard output; write one of them to a file" if printed else f"both {path}; name two files"
            raise ConfigurationError(f"{other} and {flag} are {both}.")
        flags[place] = flag
        if printed:
            continue
        check_target(path)
        if any(_is_read(path, source) for source in sources) or (run is not None and _is_part(path, run)):
            raise ConfigurationError(f"{flag} {path} would overwrite an input file; name another file.")


def check_pictures(flag: str, folder: Path | None, images: str, run: str) -> None:
    """Check before the work that pictures can be written into a folder, which is neither the images nor the run.

    Args:
        flag: the flag of the folder.
        images: the data set that the command reads.

    Raises:
        ConfigurationError: it is the folder of the images or of the run.
        RunError: the folder cannot be written.
    """
    from nelbo.paths import check_folder, expanded

    if folder is None:
        return
    check_folder(folder, flag.removeprefix("--").replace("-", "_"))
    if os.path.realpath(folder) in (os.path.realpath(expanded(each)) for each in (images, run)):
        raise ConfigurationError(f"{flag} {folder} is the folder of the images or of the run; name another folder.")


def _is_read(path: Path, source: str | Path) -> bool:
    """Return whether a file that exists is an input, or an image in a folder that is one."""
    from nelbo.paths import expanded

    source = expanded(source)
    if not os.path.isfile(path) or not os.path.exists(source):  # unlike Path.exists, they raise nothing
        return False
    inside = source.resolve() in path.resolve().parents
    return path.samefile(source) or (inside and path.suffix.lower() in (*IMAGE_ENDINGS, *ARRAY_ENDINGS))


def _is_part(path: Path, run: str) -> bool:
    """Return whether a path is one of the files that a run consists of; its pictures are not."""
    from nelbo.paths import expanded

    inside = os.path.realpath(path.parent) == os.path.realpath(expanded(run))
    return inside and (
        path.suffix == ".safetensors" or path.name in ("config.json", "metrics.jsonl", "held-out-scores.json")
    )
