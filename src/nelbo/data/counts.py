"""Counts of the values 0, 1, 2, ..., read from a CSV file."""

import csv
import math
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data.stored import printable
from nelbo.errors import DataError
from nelbo.files import refuse_pointer

# Of 100 worms, how many have 0, 1, ..., 10 teeth: an example in many introductions to the KL divergence.
WORMS = (2, 3, 5, 14, 16, 15, 12, 8, 10, 8, 7)
LARGEST_VALUE = 1_000_000


def example_counts() -> Tensor:
    """Return the counts of the example, 100 worms by their number of teeth 0..10, float64 (11,)."""
    return torch.tensor(WORMS, dtype=torch.float64)


def read_counts(path: Path) -> Tensor:
    """Read counts of the values 0..K-1 from a CSV file, float64 (K,).

    A file of one column holds the counts of 0, 1, 2, ... in order. A file of two columns holds a value and its count,
    in any order, each value once; a value that is absent counts 0. A first line without numbers is a heading. Empty
    lines are skipped.

    Raises:
        DataError: the file is missing or empty, or a cell is invalid; the message names the line and the cell.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(map(str.strip, row))]
        refuse_pointer(path, DataError)
    except FileNotFoundError as error:
        raise DataError(f"there is no file {printable(path)}; expected a CSV of counts.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{printable(path)} could not be read as CSV: {error}.") from error
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{printable(path)} holds no counts; expected one count per line, or a value and its count.")
    widths = {len(row) for _, row in rows}
    if widths not in ({1}, {2}):
        raise DataError(
            f"{printable(path)} has lines of {', '.join(map(str, sorted(widths)))} cells; expected one count per "
            "line, or a value and its count."
        )
    if widths == {1}:
        return torch.tensor([_count(path, number, row[0]) for number, row in rows], dtype=torch.float64)
    return _by_value(path, rows)


def _by_value(path: Path, rows: list[tuple[int, list[str]]]) -> Tensor:
    """Return the counts of rows (value, count), in any order."""
    found: dict[int, float] = {}
    for number, (cell, count) in rows:
        text = cell.strip()
        if not text.isdecimal() or int(text) > LARGEST_VALUE:
            raise DataError(
                f"{printable(path)}, line {number}: the value is {cell!r}; expected a whole number 0..{LARGEST_VALUE}."
            )
        if int(text) in found:
            raise DataError(
                f"{printable(path)}, line {number}: the value {text} appears a second time; give each value once."
            )
        found[int(text)] = _count(path, number, count)
    counts = torch.zeros(max(found) + 1, dtype=torch.float64)
    counts[list(found)] = torch.tensor(list(found.values()), dtype=torch.float64)
    return counts


def _count(path: Path, number: int, cell: str) -> float:
    if not _is_number(cell) or not math.isfinite(float(cell)) or float(cell) < 0:
        raise DataError(f"{printable(path)}, line {number}: the count is {cell!r}; expected a number, 0 or more.")
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
