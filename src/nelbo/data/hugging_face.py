"""Data sets of Hugging Face: on the Hub, saved in a folder, or in Parquet files. The one home of `datasets`.

A table stays in its files: the package maps Arrow files into memory, so every row can be read at once, and the order of
training is that of a folder. Parquet files and data sets of the Hub are first converted to Arrow files in the package's
cache. A stream reads Parquet files, of this disk or of the Hub, from their beginning and converts nothing.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nelbo.data.folders import Listing
from nelbo.data.names import HUB_PREFIX, TABLE_ENDING, path_of
from nelbo.data.parts import TEST, TRAIN, VALIDATION, part_of
from nelbo.data.stored import StoredImage, StoredImages, Unreadable, printable
from nelbo.data.stream_dataset import Example
from nelbo.errors import ConfigurationError, DataError

NAME = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?(?::(?P<config>[\w.-]+))?")
SAVED = ("state.json", "dataset_dict.json")  # what `save_to_disk` leaves in a folder
IMAGES, LABELS = ("image", "img", "picture", "jpg", "png"), ("label", "labels", "class", "cls")  # names of columns
BYTES = "bytes"


def is_table(spec: str) -> bool:
    """Return whether a spec names a data set of Hugging Face: one of the Hub, one that was saved, or Parquet files."""
    path = path_of(spec)
    if spec.startswith(HUB_PREFIX) or path.suffix.lower() == TABLE_ENDING:
        return True
    return _is_saved(path) or (os.path.isdir(path) and next(path.glob(f"*{TABLE_ENDING}"), None) is not None)


def _is_saved(path: Path) -> bool:
    return any(os.path.isfile(path / name) for name in SAVED)  # false for a name that is too long


def list_table(spec: str) -> Listing:
    """List the rows of a data set, with their classes. A part named test is held out, or else one for validation.

    Raises:
        DataError: it cannot be read, or has no column of images.
        ConfigurationError: the package is not installed.
    """
    tables = _tables(spec, streaming=False)
    train, held = _parts(spec, tables)
    listing, apart = Listing(_name(spec), StoredImages(), []), set[str]()
    for part in (train, *([held] if held else [])):
        table = _Columns.of(spec, tables[part])
        rows = Rows(table.only_images, table.image)
        listing.classes.extend(table.classes())
        for row in range(len(tables[part])):
            stored = StoredImage(f"{listing.name}/{part}[{row}]", rows, row)
            listing.images.append(stored)
            if part == held:
                apart.add(stored.path)
    unused = {f"image of the part {name}": len(tables[name]) for name in tables if name not in (train, held)}
    listing.ignored.update(unused)
    return Listing(listing.name, listing.images, listing.classes, ignored=listing.ignored, held_out=apart)


def stream_table(spec: str) -> "tuple[RowStream, RowStream | None]":
    """Return the rows of a data set as a stream, and those of its held-out part if it has one.

    Raises:
        DataError: it cannot be read, or has no column of images.
        ConfigurationError: the package is not installed.
    """
    tables = _tables(spec, streaming=True)
    train, held = _parts(spec, tables)
    streams = [RowStream(f"{_name(spec)}/{part}", _Columns.of(spec, tables[part])) for part in (train, held) if part]
    return streams[0], streams[1] if held else None


class Rows:
    """A column of images as a `Table`.

    Args:
        table: a `datasets.Dataset` of one column, which holds encoded images.
        column: its name.
    """

    def __init__(self, table: Any, column: str) -> None:
        self.table, self.column = table, column

    def read(self, row: int) -> bytes:
        """Return the encoded image in a row.

        Raises:
            Unreadable: the row has none.
        """
        return _content(self.table[row][self.column])


@dataclass
class RowStream:
    """The rows of a data set that is read from its beginning: an `ExampleStream`."""

    name: str
    columns: "_Columns"

    @property
    def num(self) -> int | None:
        """The number of rows that the data set states, or None."""
        part = (self.columns.table.info.splits or {}).get(str(self.columns.table.split))
        return part.num_examples if part is not None else None

    def read(self, start: int) -> Iterator[Example]:
        """Yield the rows from number `start` on; see `ExampleStream`."""
        try:
            for i, row in enumerate(self.columns.table.skip(start), start):
                yield Example(f"{self.name}[{i}]", self._content(row), self.columns.class_of(row))
        except Exception as error:  # the readers of remote files raise almost any error
            raise DataError(f"{self.name} cannot be read: {_cause(error)}.") from error

    def _content(self, row: Mapping[str, Any]) -> bytes:
        try:
            return _content(row[self.columns.image])
        except Unreadable:
            return b""  # which no decoder takes: the image is one that cannot be used


@dataclass
class _Columns:
    """A table with the names of its columns of images and of labels.

    Attributes:
        names: of the classes by number, if the table has them.
    """

    table: Any
    image: str
    label: str | None
    names: tuple[str, ...] | None

    @classmethod
    def of(cls, spec: str, table: Any) -> "_Columns":
        """Find the columns, and let that of images be read without decoding them."""
        import datasets

        features: Mapping[str, Any] = table.features or next(iter(table.take(1)), {})  # some streams state no types
        images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
        images = images or [name for name in features if name.lower() in IMAGES]
        labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
        labels = labels or [name for name in features if name.lower() in LABELS]
        if not images:
            raise DataError(
                f"{spec} has the columns {', '.join(features) or 'none'}, and none of them holds images; expected a "
                "column of the type Image, or one of encoded images that is called image."
            )
        chosen = next((name for name in images if name.lower() in IMAGES), images[0])
        label = labels[0] if labels else None
        names = getattr(features[label], "names", None) if label else None
        table = table.cast_column(chosen, datasets.Image(decode=False))
        return cls(table, chosen, label, None if names is None else tuple(names))

    @property
    def only_images(self) -> Any:
        """The table without its other columns."""
        return self.table.select_columns([self.image])

    def classes(self) -> list[str | None]:
        """Return the class of each row."""
        if self.label is None:
            return [None] * len(self.table)
        return [self._class(value) for value in self.table[self.label]]

    def class_of(self, row: Mapping[str, Any]) -> str | None:
        """Return the class of one row."""
        return None if self.label is None else self._class(row[self.label])

    def _class(self, value: Any) -> str | None:
        if value is None or (isinstance(value, int) and value < 0):
            return None
        return sys.intern(self.names[value] if self.names is not None else str(value))


def _content(value: Any) -> bytes:
    """Return the encoded image of a cell: its bytes, or those of the file that it names."""
    found = value.get(BYTES) if isinstance(value, Mapping) else value
    if isinstance(found, bytes):
        return found
    path = value.get("path") if isinstance(value, Mapping) else None
    if not isinstance(path, str):
        raise Unreadable("its row has no image")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Unreadable(f"its file {printable(path)} cannot be read: {error.strerror}") from error


def _tables(spec: str, *, streaming: bool) -> Mapping[str, Any]:
    """Open a data set, and return its parts by name."""
    try:
        import datasets
    except ImportError as error:
        raise ConfigurationError(
            f"{spec} is a data set of Hugging Face, which needs datasets: pip install 'nelbo[datasets]'."
        ) from error
    path = path_of(spec)
    try:
        if spec.startswith(HUB_PREFIX):
            found = datasets.load_dataset(**_reference(spec), streaming=streaming)
        elif _is_saved(path):
            found = datasets.load_from_disk(str(path))
            found = found if isinstance(found, datasets.DatasetDict) else {TRAIN: found}
            return {name: each.to_iterable_dataset() if streaming else each for name, each in found.items()}
        elif path.is_dir():
            found = datasets.load_dataset(str(path), streaming=streaming)
        else:
            found = datasets.load_dataset("parquet", data_files=[str(path)], streaming=streaming)
    except (ConfigurationError, DataError):
        raise
    except Exception as error:  # of the Hub, of Arrow, of the disk
        raise DataError(f"{spec} cannot be read: {_cause(error)}.") from error
    return dict(found)


def _reference(spec: str) -> dict[str, Any]:
    """Return the arguments of `datasets.load_dataset` for hf:OWNER/NAME@REVISION:CONFIG.

    Raises:
        DataError: a malformed reference.
    """
    match = NAME.fullmatch(spec.removeprefix(HUB_PREFIX))
    if match is None:
        raise DataError(
            f"malformed reference {spec!r}; expected hf:OWNER/NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME:CONFIG."
        )
    return {"path": match["name"], "name": match["config"], "revision": match["revision"]}


def _parts(spec: str, tables: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the names of the part to train on and of the one that is held out, if there is one."""
    by_part = {part_of(name): name for name in tables}
    if TRAIN in by_part:
        return by_part[TRAIN], by_part.get(TEST, by_part.get(VALIDATION))
    if len(tables) == 1:
        return next(iter(tables)), None
    raise DataError(f"{spec} has the parts {', '.join(tables)}, and none of them is named train; save one alone.")


def _name(spec: str) -> str:
    return spec.removeprefix(HUB_PREFIX) if spec.startswith(HUB_PREFIX) else printable(os.path.basename(path_of(spec)))


def _cause(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
