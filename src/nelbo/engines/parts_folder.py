"""A folder of results by parts: which work it holds, which parts are done, and that nobody else writes there."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nelbo.errors import ConfigurationError, RunError, option, shown
from nelbo.files import alone_in, remove_parts, write_json
from nelbo.paths import check_folder

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Part:
    """The images first..end-1 of a set.

    Attributes:
        number: of the part, from 0.
    """

    number: int
    first: int
    end: int


@dataclass(frozen=True)
class PartsFolder:
    """A folder with one file for each part of a work, which is there only when the part is done.

    Attributes:
        path: the folder.
        num_images: N of the set.
        part_size: images in a part; the last part may have fewer.
    """

    path: Path
    num_images: int
    part_size: int

    @property
    def num_parts(self) -> int:
        """The number of parts."""
        return -(-self.num_images // self.part_size)

    def part(self, number: int) -> Part:
        """Return part `number`."""
        first = number * self.part_size
        return Part(number, first, min(first + self.part_size, self.num_images))

    def file(self, part: Part) -> Path:
        """Return the path of the file of a part."""
        return self.path / f"part-{part.number:05d}.parquet"

    def parts(self) -> Iterator[Part]:
        """Yield all parts in order."""
        return map(self.part, range(self.num_parts))

    def missing(self) -> Iterator[Part]:
        """Yield the parts that are not done, in order."""
        return (part for part in self.parts() if not self.file(part).is_file())


@contextmanager
def begun(path: Path, work: Mapping[str, Any], num_images: int, part_size: int) -> Iterator[PartsFolder]:
    """Begin a work in a folder, or continue the same one there; lock the folder while the block runs.

    Args:
        path: absent, empty, or the folder of the same work.
        work: what determines the results, as plain values of JSON by name.
        num_images: N of the set.
        part_size: images in a part.

    Raises:
        ConfigurationError: the folder holds another work, or other files.
        RunError: another process writes there, or the folder cannot be written.
    """
    check_folder(path)
    wanted = {"format": FORMAT, "num_images": num_images, "part_size": part_size, **work}
    if not (path / MANIFEST).exists() and path.is_dir() and any(each.name[0] != "." for each in path.iterdir()):
        raise ConfigurationError(
            f"{path} has files but no {MANIFEST}; choose another {option('out')}, absent or empty."
        )
    with alone_in(path):
        if (path / MANIFEST).exists():
            _refuse_other(path, wanted)
        else:
            write_json(path / MANIFEST, wanted)
        remove_parts(path)
        yield PartsFolder(path, num_images, part_size)


def _refuse_other(path: Path, wanted: Mapping[str, Any]) -> None:
    """Check that a folder is one of this work.

    Raises:
        ConfigurationError: it is of another one; the message names the differences.
        RunError: the manifest cannot be read.
    """
    try:
        there = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        names = sorted({*there, *wanted})
    except (OSError, ValueError, TypeError) as error:
        raise RunError(f"{path / MANIFEST} cannot be read; choose another {option('out')}, or delete it.") from error
    different = [name for name in names if there.get(name) != json.loads(json.dumps(wanted.get(name)))]
    if different:
        listed = "; ".join(
            f"{name}: {shown(there.get(name))} there, {shown(wanted.get(name))} here" for name in different
        )
        raise ConfigurationError(
            f"{path} holds results of other work ({listed}); choose another {option('out')}, or delete it."
        )
