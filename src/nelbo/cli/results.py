"""The results of a command as JSON and CSV: in files, or on standard output for the path "-"."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nelbo

STANDARD_OUTPUT = "-"


def write_results(
    values: Mapping[str, Any],
    json_path: Path | None,
    rows: Sequence[Mapping[str, Any]] = (),
    csv_path: Path | None = None,
) -> bool:
    """Write results in the formats that were requested.

    Args:
        values: what JSON contains.
        json_path: the JSON file; "-" for standard output, None for no JSON.
        rows: the rows of the CSV, all with the same keys.
        csv_path: the CSV file; "-" for standard output, None for no CSV.

    Returns:
        Whether standard output is free for a table: neither format was written there.
    """
    if csv_path is not None:
        write_csv(csv_path, rows)
    if json_path is not None:
        write_json_report(json_path, values)
    return STANDARD_OUTPUT not in (str(json_path), str(csv_path))


def versioned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the version of nelbo as the last entry."""
    return {**values, "version": nelbo.__version__}


def write_json_report(path: Path, values: Mapping[str, Any]) -> None:
    """Write values as JSON to a file, or to standard output for the path "-"."""
    plain = _finite(dict(values))
    if str(path) == STANDARD_OUTPUT:
        print(json.dumps(plain, indent=2))
    else:
        from nelbo.files import write_json

        write_json(path, plain)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows with the same keys, after a line of the keys, to a file, or to standard output for the path "-"."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if str(path) == STANDARD_OUTPUT:
        print(text.getvalue(), end="")
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
