"""The results of a command as JSON and CSV: in files, or on standard output for the path "-"."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nelbo
from nelbo.cli.console import visible
from nelbo.errors import NelboError

STANDARD_OUTPUT = "-"


def prints_table(json_path: Path | None, csv_path: Path | None = None) -> bool:
    """Return whether standard output is free for a table: neither JSON nor CSV is written there."""
    return STANDARD_OUTPUT not in (str(json_path), str(csv_path))


def write_results(
    values: Mapping[str, Any],
    json_path: Path | None,
    rows: Sequence[Mapping[str, Any]] = (),
    csv_path: Path | None = None,
    figure: Callable[[], None] | None = None,
) -> None:
    """Write results in the formats that were requested. Call it after the table is printed: a disk may be full.

    Args:
        values: what JSON contains.
        json_path: the JSON file; "-" for standard output, None for no JSON.
        rows: the rows of the CSV, all with the same keys.
        csv_path: the CSV file; "-" for standard output, None for no CSV.
        figure: writes the figure of the results.

    Raises:
        NelboError: an output cannot be written; the others are written nevertheless.
    """
    writes: list[tuple[bool, Callable[[], None]]] = []
    if csv_path is not None:
        writes.append((str(csv_path) != STANDARD_OUTPUT, lambda: write_csv(csv_path, rows)))
    if json_path is not None:
        writes.append((str(json_path) != STANDARD_OUTPUT, lambda: write_json_report(json_path, values)))
    if figure is not None:
        writes.append((True, figure))
    errors = []
    for _, write in sorted(writes, key=lambda each: each[0]):  # standard output first
        try:
            write()
        except NelboError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def versioned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the version of nelbo as the last entry."""
    return {**values, "version": nelbo.__version__}


def write_json_report(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as JSON to a file, or to standard output for the path "-"; JSON escapes control characters."""
    plain = _finite(dict(values))
    if str(path) == STANDARD_OUTPUT:
        print(json.dumps(plain, indent=2).replace("\x7f", "\\u007f"))  # the one that Python leaves as it is
    else:
        from nelbo.files import write_json

        write_json(path, plain)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys, after a line of the keys, to a file, or to standard output for the path "-".

    On standard output, which may be a terminal, control characters in names are escaped; a file has the exact names.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if str(path) == STANDARD_OUTPUT:
        print(visible(text.getvalue()), end="")
    else:
        from nelbo.files import write_text

        write_text(path, text.getvalue())


def _finite(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has neither; NaN is the standard error of a single draw."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
