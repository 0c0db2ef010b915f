"""What every command shows: progress bars, tables and errors. Progress goes to standard error, results to output."""

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nelbo.data import Reject
from nelbo.files import write_json, write_text
from nelbo.training import is_first_process

NAMED = 10  # files left out, by name

out = Console(quiet=not is_first_process(), markup=False, emoji=False)  # a path may hold [brackets] and :colons:
err = Console(stderr=True, quiet=not is_first_process(), markup=False, emoji=False)
every = Console(stderr=True, markup=False, emoji=False)  # what a process other than the first has to say too


class Bars:
    """Progress bars by name: made when first heard of, removed when done."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, Any] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        """Move the bar of a name to done / total."""
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=total, note="")
        self.progress.update(self.tasks[name], completed=done, total=total)
        if done >= total:
            self.progress.remove_task(self.tasks.pop(name))


@contextmanager
def bars() -> Iterator[Bars]:
    """Progress bars on standard error while the block runs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield Bars(progress)


def name_rejects(rejects: Sequence[Reject], rest: str = "--json lists them") -> None:
    """Say which files were left out and why: the first few by name, the rest by number."""
    for reject in rejects[:NAMED]:
        err.print(f"left out {reject.path}: {reject.reason}", highlight=False, soft_wrap=True)
    if len(rejects) > NAMED:
        err.print(f"left out {len(rejects) - NAMED} more ({rest})", highlight=False, soft_wrap=True)


def emit_json(value: dict[str, Any], path: Path | None) -> None:
    """JSON to a file, or to standard output for the path "-"."""
    if path is None:
        return
    plain = _finite(value)
    if str(path) == "-":
        print(json.dumps(plain, indent=2))
    else:
        write_json(path, plain)


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows with the same keys, the keys first, to a file, or to standard output for the path "-"."""
    text = io.StringIO()
    writer = csv.DictWriter(text, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    if str(path) == "-":
        print(text.getvalue(), end="")
    else:
        write_text(path, text.getvalue())


def _finite(value: Any) -> Any:
    """The same value with null for what is no number (the error of a single draw): JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
