"""Counts of the values 0, 1, 2, ... from a CSV file."""

import csv
import math
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data.datasets import printable
from nelbo.errors import DataError

# The teeth of 100 worms: how many have 0, 1, ..., 10 of them. An example told in many introductions to KL divergence.
WORMS = (2, 3, 5, 14, 16, 15, 12, 8, 10, 8, 7)
LARGEST_VALUE = 1_000_000


def example_counts() -> Tensor:
    """The worms' counts, float64 (11,)."""
    return torch.tensor(WORMS, dtype=torch.float64)


def read_counts(path: Path) -> Tensor:
    """Counts (K,) float64 of 0..K-1 from a CSV file.

    One column is the counts of 0, 1, 2, ... in order; two are a value and its count, in any order, each value once, and
    what is not named counts 0. A first line of words is a heading. Empty lines are passed over.

    Raises:
        DataError: the file is missing or empty, or a cell isn't what it should be; the line and the cell are named.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if any(map(str.strip, row))]
    except FileNotFoundError as error:
        raise DataError(f"there is no file {printable(path)}; expected a CSV of counts.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{printable(path)} could not be read as CSV: {error}.") from error
    if rows and not any(_is_number(cell) for cell in rows[0][1]):
        rows = rows[1:]
    if not rows:
        raise DataError(f"{printable(path)} holds no counts; expected one a line, or a value and its count.")
    widths = {len(row) for _, row in rows}
    if widths not in ({1}, {2}):
        raise DataError(
            f"{printable(path)} has lines of {', '.join(map(str, sorted(widths)))} cells; expected one count a line, "
            "or a value and its count."
        )
    if widths == {1}:
        return torch.tensor([_count(path, number, row[0]) for number, row in rows], dtype=torch.float64)
    return _by_value(path, rows)


def _by_value(path: Path, rows: list[tuple[int, list[str]]]) -> Tensor:
    found: dict[int, float] = {}
    for number, (cell, count) in rows:
        text = cell.strip()
        if not text.isdecimal() or int(text) > LARGEST_VALUE:
            raise DataError(
                f"{printable(path)}, line {number}: the value is {cell!r}; expected a whole number 0..{LARGEST_VALUE}."
            )
        if int(text) in found:
            raise DataError(f"{printable(path)}, line {number}: the value {text} has been counted before.")
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
