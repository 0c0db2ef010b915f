"""What training reports: a line of JSON every so many steps, and the averages that go into it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo.errors import RunError
from nelbo.files import reason, write_text

QUARTERS, TERM = 4, "term."


class LossWindow:
    """Sums since the last report: the training loss, its terms, and by quarter of t the loss before its weight."""

    def __init__(self) -> None:
        self.weighted = torch.zeros(2, dtype=torch.float64)  # sum, count
        self.quarters = torch.zeros(2, QUARTERS, dtype=torch.float64)
        self.terms: dict[str, Tensor] = {}

    def add(
        self, weighted: Tensor, loss: Tensor, position: Tensor | None = None, terms: Mapping[str, Tensor] | None = None
    ) -> None:
        """Count a global batch: (B,) weighted losses, losses, positions in [0, 1) and terms, on the processor."""
        self.weighted += torch.stack([weighted.double().sum(), torch.tensor(float(len(weighted)), dtype=torch.float64)])
        for name, values in (terms or {}).items():
            self.terms[name] = self.terms.get(name, torch.zeros((), dtype=torch.float64)) + values.double().sum()
        if position is None:
            return
        quarter = (position * QUARTERS).long().clamp(0, QUARTERS - 1)
        for row, values in zip(self.quarters, (loss.double(), torch.ones_like(loss).double()), strict=True):
            row.index_add_(0, quarter, values)

    def averages(self) -> dict[str, Any]:
        """`loss`, its terms, and `loss_by_quarter` (None for a quarter not drawn) if there is a t; then begin again."""
        (total, count), (sums, counts) = self.weighted, self.quarters
        means = {"loss": total, **self.terms}
        found: dict[str, Any] = {name: round_to(float(value / count.clamp(min=1)), 6) for name, value in means.items()}
        if counts.any():
            pairs = zip(sums, counts, strict=True)
            found["loss_by_quarter"] = [round_to(float(s / c), 6) if c > 0 else None for s, c in pairs]
        self.weighted.zero_()
        self.quarters.zero_()
        self.terms.clear()
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """The sums."""
        terms = {TERM + name: value for name, value in self.terms.items()}
        return {"weighted": self.weighted, "quarters": self.quarters, **terms}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self.weighted, self.quarters = state["weighted"].clone(), state["quarters"].clone()
        self.terms = {name.removeprefix(TERM): v.clone() for name, v in state.items() if name.startswith(TERM)}


def round_to(value: float, digits: int) -> float:
    """`value` to that many significant digits, for people and small files."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


class MetricsLog:
    """`metrics.jsonl`: one JSON object a line, each with its step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a line."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise RunError(f"{self.path} could not be written: {reason(error)}.") from error

    def records(self) -> list[dict[str, Any]]:
        """Every whole line; a last line that a kill cut short is left out."""
        if not self.path.is_file():
            return []
        records = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return records

    def cut_after(self, step: int) -> None:
        """Drop the lines past `step`, which a resumed run is about to write again."""
        kept = [record for record in self.records() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_text(self.path, text)
