"""The bound step by step: L_{t-1} of eq. 5 against t, and how few steps hold most of the bits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nelbo.errors import DataError
from nelbo.plots.style import BLUE, INK, ORANGE, dress, logarithmic, new_figure

Array = NDArray[np.float64]
SHARE, LABEL_WIDTH = 0.9, 0.06
CURVE_LEFT, CURVE_RIGHT = 0.11, 0.98  # of the width of `step_curve`: where t = 1 and t = T are


def per_step_bound(per_step: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw bits/dim of each step against t (both axes logarithmic), and their cumulative share from t = 1.

    Args:
        per_step: {"t", "bits_per_dim"} of each step; t = 1 is the decoder's term L_0. "standard_error" adds a band of
            two standard errors; "log_snr", if every record has it, adds a second axis. Where only some t were
            evaluated, the cumulative share fills the gaps (`cumulative_share`).

    Raises:
        DataError: no value above zero.
    """
    records = sorted(per_step, key=lambda record: int(record["t"]))
    t = np.array([record["t"] for record in records], dtype=np.float64)
    bits = np.array([record["bits_per_dim"] for record in records], dtype=np.float64)
    if len(t) == 0 or not np.isfinite(bits).all() or bits.max() <= 0:
        raise DataError(
            f"{len(t)} steps without finite bits/dim above zero: there is no bound to draw; evaluate the model again."
        )
    figure = new_figure(5.6, 5.2)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    errors = np.array([record.get("standard_error") or 0.0 for record in records], dtype=np.float64)
    _draw_bits(top, t, bits, errors)
    _draw_share(below, t, bits)
    logarithmic(below, "x", t[0], t[-1])
    if len(t) > 1 and all(record.get("log_snr") is not None for record in records):
        _add_log_snr_axis(top, t, np.array([record["log_snr"] for record in records], dtype=np.float64))
    return figure


def step_curve(per_step: Sequence[Mapping[str, Any]], num_steps: int) -> Figure:
    """Draw bits/dim of the steps t > 1 against t, with t = 1 and t = T at known places.

    Args:
        per_step: {"t", "bits_per_dim"} of each step that was evaluated.
        num_steps: T.

    Raises:
        DataError: no step t > 1 with bits above zero.
    """
    drawn = sorted((int(each["t"]), float(each["bits_per_dim"])) for each in per_step if int(each["t"]) > 1)
    drawn = [(t, bits) for t, bits in drawn if np.isfinite(bits) and bits > 0]
    if not drawn:
        raise DataError("no step t > 1 has bits above zero: there is no curve to draw; evaluate the model again.")
    t, bits = np.array(drawn).T
    figure = new_figure(6.4, 2.2)
    figure.set_layout_engine("none")
    axes = figure.add_axes((CURVE_LEFT, 0.22, CURVE_RIGHT - CURVE_LEFT, 0.64))
    axes.plot(t, bits, color=BLUE, linewidth=1.3, marker="o", markersize=2.5)
    dress(axes, "$L_{t-1}$ of this image, bits/dim", "t", "")
    logarithmic(axes, "y", bits.min(), bits.max())
    axes.set_xlim(1, num_steps)
    return figure


def steps_holding(share: float, t: Array, bits: Array) -> int:
    """Return the smallest n for which the steps 1..n hold this share of the bits."""
    steps, cumulative = cumulative_share(t, bits)
    return int(steps[np.searchsorted(cumulative, share * (1 - 1e-12))])


def cumulative_share(t: Array, bits: Array) -> tuple[Array, Array]:
    """Return the share of all bits that the steps 1..t hold, for each integer t from the first evaluated to the last.

    Steps that were not evaluated are interpolated by a power law between their neighbours.
    """
    steps = np.arange(t[0], t[-1] + 1)
    tiny = bits.max() * 1e-12
    filled = np.exp(np.interp(np.log(steps), np.log(t), np.log(bits.clip(min=tiny))))
    cumulative = np.cumsum(filled)
    return steps, cumulative / cumulative[-1]


def _draw_bits(axes: Axes, t: Array, bits: Array, errors: Array) -> None:
    positive = bits > 0
    floor = bits[positive].min() / 3
    low, high = np.maximum(bits - 2 * errors, floor), np.maximum(bits + 2 * errors, floor)
    axes.fill_between(t, low, high, color=BLUE, alpha=0.2, linewidth=0)
    marker = "o" if len(t) <= 60 else ""
    axes.plot(t[positive], bits[positive], color=BLUE, linewidth=1.3, marker=marker, markersize=3)
    dress(axes, f"The bound step by step ({bits.size} steps evaluated)", "", "bits/dim of one step")
    logarithmic(axes, "y", bits[positive].min(), bits.max())


def _draw_share(axes: Axes, t: Array, bits: Array) -> None:
    steps, share = cumulative_share(t, bits)
    enough = steps_holding(SHARE, t, bits)
    axes.plot(steps, 100 * share, color=BLUE, linewidth=1.6, drawstyle="steps-post")
    axes.axvline(enough, color=ORANGE, linewidth=1.0)
    axes.axhline(100 * SHARE, color=ORANGE, linewidth=1.0, linestyle=":")
    axes.set_ylim(0, 103)
    title = f"Steps 1 to {enough} hold {SHARE:.0%} of the bits"
    dress(axes, title, "t (1 is nearest to the data)", "% of the bits in steps 1..t")


def _apart(places: Array) -> list[int]:
    """Return the indices of ascending places on an axis of length 1 whose labels do not collide."""
    kept = [0]
    for index, place in enumerate(places):
        if place - places[kept[-1]] >= LABEL_WIDTH:
            kept.append(index)
    return kept


def _add_log_snr_axis(axes: Axes, t: Array, log_snr: Array) -> None:
    """Add a second horizontal axis on top, with round values of the log SNR at their t."""
    falling = np.argsort(log_snr)
    low, high = log_snr[falling[0]], log_snr[falling[-1]]
    spacing = next((s for s in (1, 2, 4, 5, 10, 20) if (high - low) / s <= 9), 50)
    values = np.arange(np.ceil(low / spacing) * spacing, high + 1e-9, spacing)[::-1]
    places = np.interp(values, log_snr[falling], t[falling])
    kept = _apart(np.log(places / t[0]) / np.log(t[-1] / t[0]))
    values, places = values[kept], places[kept]
    above = axes.secondary_xaxis("top")
    above.set_xticks(places, [f"{value:.0f}" for value in values], minor=False)
    above.set_xticks([], minor=True)
    above.set_xlabel("log signal-to-noise ratio (nats)", fontsize=8, color=INK)
    above.tick_params(labelsize=8, colors=INK)
    above.spines["top"].set_visible(False)
