"""Training curves, read from the records of `metrics.jsonl`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, FAINT, INK, ORANGE, QUARTERS, dot_size, dress, logarithmic, new_figure

Records = Iterable[Mapping[str, Any]]
Array = NDArray[np.float64]


def loss_curve(records: Records) -> Figure:
    """Draw the training loss against the step: every record faintly, and a moving average.

    Args:
        records: with "step" and "loss", in the unit "loss_unit" of the last record, if it has one. "loss_by_quarter",
            four floats for the quarters of 1..T (None or NaN for a quarter without t), adds a panel with the loss by
            quarter of t. Records without a loss are skipped.

    Raises:
        DataError: no record has a loss.
    """
    records = list(records)
    steps, losses = _column(records, "step", "loss")
    quarters = [record for record in records if record.get("loss_by_quarter") is not None]
    figure = new_figure(9.0 if quarters else 5.2, 3.4)
    panels = figure.subplots(1, 2 if quarters else 1, squeeze=False)[0]
    size = dot_size(len(steps))
    panels[0].plot(
        steps, losses, color=FAINT, linewidth=0.7, marker="o", markersize=1.75 * size or 1, label="each record"
    )
    panels[0].plot(
        steps, _smooth(losses), color=BLUE, linewidth=1.6, marker="o", markersize=size, label="moving average"
    )
    name = _loss_name(records)
    dress(panels[0], "Training loss", "step", name)
    panels[0].legend(frameon=False, fontsize=8)
    if quarters:
        for quarter, colour in enumerate(QUARTERS):
            rows = [{"step": r["step"], "loss": r["loss_by_quarter"][quarter]} for r in quarters]
            x, y = _column(rows, "step", "loss", required=False)
            name_of_t, size = _quarter_name(quarter), dot_size(len(x))
            panels[1].plot(x, _smooth(y), color=colour, linewidth=1.4, marker="o", markersize=size, label=name_of_t)
        dress(panels[1], "Training loss by quarter of t, moving average", "step", name)
        panels[1].legend(frameon=False, fontsize=8)
    for axes in panels:
        drawn = np.concatenate([np.asarray(line.get_ydata(), dtype=np.float64) for line in axes.get_lines()])
        if drawn.size and drawn.min() > 0:
            logarithmic(axes, "y", drawn.min(), drawn.max())
    return figure


def bound_curve(records: Records, against: Literal["step", "minutes"] = "step") -> Figure:
    """Draw the held-out bound in bits/dim against the step or the minutes of training, with the lowest point marked.

    Args:
        records: with "held_out_bits_per_dim" and the key `against`; "held_out_standard_error" adds a bar of two
            standard errors each way. If records have "held_out_chain_bits_per_dim", the bound without L_0, that is
            drawn instead. Other records are skipped.

    Raises:
        DataError: no record has a bound.
    """
    chain = any(record.get("held_out_chain_bits_per_dim") is not None for record in records)
    key = "held_out_chain_bits_per_dim" if chain else "held_out_bits_per_dim"
    rows = [record for record in records if record.get(key) is not None]
    x, bits = _column(rows, against, key)
    errors = [(r[against], r[key], r.get("held_out_standard_error") or 0.0) for r in rows]
    best = int(np.argmin(bits))
    figure = new_figure(5.2, 3.4)
    axes = figure.subplots()
    axes.plot(x, bits, color=BLUE, linewidth=1.4, marker="o", markersize=3.5)
    for place, value, error in errors:
        if error > 0 and math.isfinite(value):
            axes.plot([place, place], [value - 2 * error, value + 2 * error], color=BLUE, linewidth=0.9, alpha=0.6)
    axes.plot(x[best], bits[best], marker="o", markersize=6, color=ORANGE)
    place = float((x[best] - x.min()) / (np.ptp(x) or 1))  # of the label: below all that is drawn, and inside the axes
    lowest = min(value - (2 * error if error > 0 else 0) for _, value, error in errors if math.isfinite(value))
    axes.annotate(
        f"lowest {bits[best]:.3f}",
        (x[best], lowest),
        xytext=(0, -7),
        textcoords="offset points",
        ha="left" if place < 0.15 else "right" if place > 0.85 else "center",
        va="top",
        fontsize=8,
        color=INK,
    )
    dress(axes, f"Bound of held-out images{', without L_0' if chain else ''}", against, "bits/dim")
    axes.margins(y=0.16)
    return figure


def _column(rows: Iterable[Mapping[str, Any]], x: str, y: str, required: bool = True) -> tuple[Array, Array]:
    """Return the finite pairs of two keys as float64 arrays."""
    pairs = [(float(row[x]), float(row[y])) for row in rows if row.get(x) is not None and row.get(y) is not None]
    pairs = [pair for pair in pairs if math.isfinite(pair[0]) and math.isfinite(pair[1])]
    if required and not pairs:
        raise DataError(
            f"no record has both {x!r} and {y!r}, so there is nothing to draw; train for a few steps first."
        )
    table = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _smooth(values: Array) -> Array:
    """Return a moving average over a twentieth of the curve: centred, narrower at the start, one-sided at the end."""
    reach = len(values) // 40
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    first = index - np.minimum(index, reach)
    behind_last = np.minimum(index + np.minimum(index, reach), len(values) - 1) + 1
    smooth: Array = (sums[behind_last] - sums[first]) / (behind_last - first)
    return smooth


def _loss_name(records: Sequence[Mapping[str, Any]]) -> str:
    units = [record.get("loss_unit") for record in records if record.get("loss") is not None]
    return f"loss, {units[-1]}" if units and units[-1] else "loss"


def _quarter_name(quarter: int) -> str:
    return ("t up to T/4", "T/4 to T/2", "T/2 to 3T/4", "3T/4 to T")[quarter]
