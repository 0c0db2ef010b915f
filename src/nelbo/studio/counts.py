"""The tab KL: a distribution over 0..5 that the visitor shapes, and how far two families are from it."""

import math
from typing import Any

import gradio as gr
import torch

from nelbo.errors import DataError
from nelbo.plots import count_bars
from nelbo.probability import FAMILIES, categorical_kl, entropy_of, probabilities_of
from nelbo.studio.choosing import Start
from nelbo.studio.inline import drawn, table
from nelbo.studio.speaking import speaking

MOST = 20
START = (1, 3, 6, 8, 5, 2)  # counts of 0..5
COMPARED = ("uniform", "binomial")


def compare(counts: list[float]) -> tuple[str, list[tuple[str, str]]]:
    """Compare counts of the values 0, 1, ... with the fitted families: a figure as HTML, and numbers in words.

    Raises:
        DataError: all counts are 0.
    """
    table_of_counts = torch.tensor(counts, dtype=torch.float64)
    if float(table_of_counts.sum()) <= 0:
        raise DataError("all counts are 0; move a bar up.")
    observed = probabilities_of(table_of_counts)
    fits = [FAMILIES[name](table_of_counts) for name in COMPARED]
    nats = [fit.divergence(observed) for fit in fits]
    facts = [("entropy of the counts", f"{entropy_of(observed) / math.log(2):.4f} bits")]
    for fit, value in zip(fits, nats, strict=True):
        back = float(categorical_kl(fit.probabilities / fit.probabilities.sum(), observed))
        fitted = ", ".join(f"{name} = {number:.4g}" for name, number in fit.parameters.items())
        facts += [
            (f"KL(observed || {fit.name})", f"{_bits(value)}, with {fitted}"),
            (f"KL({fit.name} || observed)", _bits(back)),
        ]
    return drawn(count_bars(observed, fits, nats), "the counts and the fitted distributions"), facts


def _bits(nats: float) -> str:
    return f"{nats / math.log(2):.4f} bits = {nats:.4f} nats" if math.isfinite(nats) else "infinite"


def tab(start: Start) -> None:
    """Build the tab; `start` is what shows it first."""
    gr.Markdown(
        "The KL divergence is the price, in bits for each value, of coding with the wrong distribution. It is 0 only "
        "for equal distributions, and its two directions differ. Move the bars."
    )
    with gr.Row():
        bars = [
            gr.Slider(0, MOST, count, step=1, label=f"count of {value}", min_width=120)
            for value, count in enumerate(START)
        ]
    view = gr.HTML(elem_id="kl-view")

    @speaking
    def move(*counts: float) -> str:
        figure, facts = compare([float(count) for count in counts])
        return table(facts) + figure

    options: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "always_last"}
    for bar in bars:
        bar.input(move, bars, view, **options)
    start(move, bars, view, show_progress="hidden")
