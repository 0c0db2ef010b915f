"""The results of Table 2: one record per cell, and the table."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nelbo.display import Displayed, Frame, data_frame
from nelbo.errors import RunError
from nelbo.studies.table2.cells import Cell, GridOptions


@dataclass(frozen=True)
class CellRecord:
    """The result of a cell, saved as `cell.json` in its run folder.

    Attributes:
        unstable: why its training failed: a number was not finite, or the bound is above that of a uniform distribution
            over the levels, which has learned nothing. None if training succeeded.
        steps, minutes: length of the training.
        bits_per_dim, standard_error: the bound on the held-out images under the variance of the cell; None if it is not
            finite. The error is None as well if it is NaN.
        frechet: `FrechetReport.to_json` of its samples, or None if the distance was not measured.
    """

    cell: Cell
    unstable: str | None
    steps: int
    minutes: float
    bits_per_dim: float | None
    standard_error: float | None
    frechet: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        plain = asdict(self)
        return {"name": self.cell.name, **plain.pop("cell"), **plain}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "CellRecord":
        """Build a record from `to_json`."""
        cell = Cell(plain["parameterization"], plain["loss"], plain["variance"])
        rest = {key: value for key, value in plain.items() if key not in ("name", *asdict(cell))}
        return cls(cell, **rest)

    @classmethod
    def read(cls, path: Path) -> "CellRecord":
        """Read a record from `cell.json`.

        Raises:
            RunError: the file cannot be read.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({error}); delete it to measure the cell again.") from error


@dataclass(frozen=True)
class Table2(Displayed):
    """The grid, complete or as far as it was computed.

    Attributes:
        records: one per finished cell, in the order of `table2_cells`.
        stopped_by: name of the signal that stopped the grid early, or None.
        levels: K.
        num_train, num_held_out: number of images in each part.
        frechet_against: the images and the features of the Frechet distances, or why there are no distances.
    """

    options: GridOptions
    records: list[CellRecord]
    stopped_by: str | None
    levels: int
    num_train: int
    num_held_out: int
    frechet_against: str

    def summary(self) -> Mapping[str, str]:
        """Return how far the grid is, and the cell with the lowest bound."""
        bounds = {record.cell.name: record.bits_per_dim for record in self.records if record.bits_per_dim is not None}
        best = min(bounds, key=lambda name: bounds[name], default=None)
        lowest = {} if best is None else {"lowest bound": f"{bounds[best]:.4f} bits/dim, {best}"}
        return {
            "cells": f"{len(self.records)}, {sum(record.unstable is not None for record in self.records)} unstable",
            **lowest,
            "images": f"{self.num_train:,} for training, {self.num_held_out:,} held out, {self.levels} levels",
            "Frechet distance": self.frechet_against,
        }

    def to_pandas(self) -> Frame:
        """Return the cells as a data frame of pandas, a row each.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        return data_frame([record.to_json() for record in self.records])

    @property
    def by_cell(self) -> dict[Cell, CellRecord]:
        """The records by cell."""
        return {record.cell: record for record in self.records}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            **self.options.to_json(),
            "levels": self.levels,
            "uniform_bits_per_dim": math.log2(self.levels),
            "num_train": self.num_train,
            "num_held_out": self.num_held_out,
            "frechet_against": self.frechet_against,
            "cells": [record.to_json() for record in self.records],
        }
