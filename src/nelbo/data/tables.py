"""A table of numbers beside images, from a CSV file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from nelbo.display import counted
from nelbo.errors import DataError, option

IMAGE_COLUMN = "image"


def read_table(path: Path, names: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Read a CSV file with a column `image`: return the numbers of each named image, (N, V) float64, and the columns.

    An empty cell is an unknown number, NaN.

    Args:
        names: relative names of image files; a name in the table may also be the last part alone, or lack its ending.

    Raises:
        DataError: the file cannot be read, has no such column or others than numbers, or lacks an image.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{option('table')}: {path} cannot be read: {error}.") from error
    columns = tuple(name for name in (rows[0] if rows else ()) if name is not None and name != IMAGE_COLUMN)
    if not rows or IMAGE_COLUMN not in rows[0] or not columns:
        raise DataError(
            f"{option('table')}: {path} needs a header with the column {IMAGE_COLUMN!r}, which holds the names of "
            "files, and at least one column of numbers."
        )
    by_name: dict[str, list[float]] = {}
    for line, row in enumerate(rows, 2):
        by_name[str(row[IMAGE_COLUMN])] = [_number(row[column], path, line, column) for column in columns]
    found = [_row(by_name, name) for name in names]
    if missing := [name for name, row in zip(names, found, strict=True) if row is None]:
        raise DataError(
            f"{option('table')}: {path} has no row for {counted(len(missing), 'image')}, the first {missing[0]}; add "
            f"them to the column {IMAGE_COLUMN!r}, with empty cells for unknown numbers."
        )
    return torch.tensor(found, dtype=torch.float64), columns


def _row(by_name: dict[str, list[float]], name: str) -> list[float] | None:
    path = Path(name)
    forms = (name, path.as_posix(), path.name, path.with_suffix("").as_posix(), path.stem)
    return next((by_name[form] for form in forms if form in by_name), None)


def _number(text: str | None, path: Path, line: int, column: str) -> float:
    if text is None or not text.strip():
        return float("nan")
    try:
        return float(text)
    except ValueError:
        raise DataError(
            f"{option('table')}: {path}, line {line}: {column} is {text!r}; expected a number, or an empty cell if it "
            "is unknown."
        ) from None
