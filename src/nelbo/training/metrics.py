"""What training reports: `metrics.jsonl`, and the averages of the losses that its lines hold."""

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nelbo.errors import RunError
from nelbo.files import reason, write_text
from nelbo.objective import NATS, Losses

QUARTERS, TERM, BITS = 4, "term.", "bits/dim"


@dataclass(frozen=True)
class TrainingStep:
    """The progress of training after one optimizer step.

    Attributes:
        step: optimizer steps done.
        fraction: share of the budget spent, 0..1.
        seconds: training time so far, over all sessions.
        images_per_second: speed of this step, over all processes.
        record: the line of the metrics that this step wrote; empty if it wrote none.
    """

    step: int
    fraction: float
    seconds: float
    images_per_second: float
    record: dict[str, Any]


class LossWindow:
    """Sums since the last line of the metrics.

    The window sums the weighted loss, its terms, and, by quarter of t, the loss before its weight.
    """

    def __init__(self) -> None:
        self.weighted = torch.zeros(2, dtype=torch.float64)  # sum, count
        self.quarters = torch.zeros(2, QUARTERS, dtype=torch.float64)
        self.terms: dict[str, Tensor] = {}
        self.unit = ""

    def add(self, losses: Losses) -> None:
        """Add a global batch, on the CPU."""
        self.unit = losses.unit
        weighted, loss = losses.weighted.double(), losses.loss.double()
        self.weighted += torch.stack([weighted.sum(), torch.tensor(float(len(weighted)), dtype=torch.float64)])
        for name, values in losses.terms.items():
            self.terms[name] = self.terms.get(name, torch.zeros((), dtype=torch.float64)) + values.double().sum()
        if losses.position is None:
            return
        quarter = (losses.position * QUARTERS).long().clamp(0, QUARTERS - 1)
        for row, values in zip(self.quarters, (loss, torch.ones_like(loss)), strict=True):
            row.index_add_(0, quarter, values)

    def averages(self) -> dict[str, Any]:
        """Return the averages and clear the window; nats become bits.

        Returns:
            `loss`, the terms by name, `loss_unit` unless the loss has none and, if positions were added,
            `loss_by_quarter`: a list with None for each quarter of t that was not drawn.
        """
        (total, count), (sums, counts) = self.weighted, self.quarters
        scale, unit = (1 / math.log(2), BITS) if self.unit == NATS else (1.0, self.unit)
        means = {"loss": total, **self.terms}
        found: dict[str, Any] = {
            name: round_to(float(scale * value / count.clamp(min=1)), 6) for name, value in means.items()
        }
        if counts.any():
            pairs = zip(sums, counts, strict=True)
            found["loss_by_quarter"] = [round_to(float(scale * s / c), 6) if c > 0 else None for s, c in pairs]
        if unit:
            found["loss_unit"] = unit
        self.weighted.zero_()
        self.quarters.zero_()
        self.terms.clear()
        return found

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sums as tensors."""
        terms = {TERM + name: value for name, value in self.terms.items()}
        unit = torch.tensor(list(self.unit.encode()), dtype=torch.uint8)
        return {"weighted": self.weighted, "quarters": self.quarters, "unit": unit, **terms}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the sums from `state_dict`."""
        self.weighted, self.quarters = state["weighted"].clone(), state["quarters"].clone()
        self.unit = bytes(state["unit"].tolist()).decode() if "unit" in state else ""
        self.terms = {name.removeprefix(TERM): v.clone() for name, v in state.items() if name.startswith(TERM)}


def round_to(value: float, digits: int) -> float:
    """Round `value` to `digits` significant digits."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


class MetricsLog:
    """`metrics.jsonl`: one JSON object per line, each with its step."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a line, completely or not at all.

        Raises:
            RunError: the file cannot be written.
        """
        before = self.path.stat().st_size if self.path.is_file() else 0
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            with suppress(OSError):  # `records` ends at the first line that is cut short
                os.truncate(self.path, before)
            raise RunError(f"{self.path} could not be written: {reason(error)}.") from error

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all complete lines; a kill may have cut the last one short."""
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
        """Drop the lines after `step`: a resumed run writes them again."""
        kept = [record for record in self.records() if record["step"] <= step]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_text(self.path, text)
