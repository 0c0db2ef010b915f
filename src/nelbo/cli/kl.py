"""`nelbo kl`: which distribution do these counts come from?"""

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch import Tensor

import nelbo
from nelbo.cli.console import emit_json, err, out
from nelbo.data import example_counts, read_counts
from nelbo.errors import ConfigurationError
from nelbo.plots import count_bars, save
from nelbo.probability import FAMILIES, CountFit, entropy_of, mean_of, probabilities_of


def kl(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="COUNTS [FAMILY...]", help="A CSV of counts; then more of what --against takes."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help=f"{', '.join(FAMILIES)}, or another CSV of counts; all families if absent."),
    ] = None,
    example: Annotated[str | None, typer.Option(help="Counts that come along: worms.")] = None,
    picture: Annotated[Path | None, typer.Option("--out", help="Draw the bars side by side into this .png.")] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON to this file (- for standard output).")
    ] = None,
) -> None:
    """Fit distributions to counts by maximum likelihood and compare them by KL(observed || fitted), in nats and bits.

    The CSV has the counts of 0, 1, 2, ..., one a line; or a value and its count. KL is never negative, 0 only for equal
    distributions, not symmetric, and infinite where the fitted one is 0 and the observed one isn't.
    """
    counts, names = _what_was_asked(words or [], against or [], example)
    observed = probabilities_of(counts)
    fits = [_fitted(name, counts) for name in names]
    nats = [fit.divergence(observed) for fit in fits]
    order = sorted(range(len(fits)), key=lambda i: nats[i])
    if json is not None:
        emit_json(_as_json(counts, fits, nats, order), json)
    if picture is not None:
        save(count_bars(observed, fits, nats), picture)
        err.print(f"the bars: {picture}", highlight=False)
    if str(json) == "-":
        return
    out.print(
        f"{float(counts.sum()):g} counted, values 0..{len(counts) - 1}, mean {mean_of(counts):.6g}, "
        f"entropy {entropy_of(counts):.6f} nats",
        highlight=False,
    )
    table = Table()
    for column in ("against", "fitted", "KL, nats", "KL, bits"):
        table.add_column(column, justify="right" if column.startswith("KL") else "left")
    for i in order:
        fitted = ", ".join(f"{name} = {value:.6g}" for name, value in fits[i].parameters.items())
        best = i == order[0] and len(fits) > 1
        table.add_row(
            fits[i].name, fitted, *map(_shown, (nats[i], nats[i] / math.log(2))), style="bold" if best else ""
        )
    out.print(table)
    for i in order:
        if math.isinf(nats[i]):
            where = ((fits[i].probabilities == 0) & (observed > 0)).nonzero().flatten().tolist()
            out.print(f"{fits[i].name} says that {where} cannot be, and they were counted: KL is infinite.")
    if len(fits) > 1 and math.isfinite(nats[order[0]]):
        out.print(f"the nearest is {fits[order[0]].name}", highlight=False)


def _what_was_asked(words: list[str], against: list[str], example: str | None) -> tuple[Tensor, list[str]]:
    """The counts, and what to compare them with. Families may follow --against without the option's name again."""
    if example is not None:
        if example != "worms":
            raise ConfigurationError(f"there is no example {example!r}; expected worms.")
        return example_counts(), [*against, *words] or list(FAMILIES)
    files = [word for word in words if word not in FAMILIES]
    if not files:
        raise ConfigurationError("name a CSV of counts, such as `nelbo kl counts.csv`, or --example worms.")
    families = [word for word in words if word != files[0]]
    return read_counts(Path(files[0])), [*against, *families] or list(FAMILIES)


def _fitted(name: str, counts: Tensor) -> CountFit:
    if name in FAMILIES:
        return FAMILIES[name](counts)
    if not Path(name).is_file():
        raise ConfigurationError(f"--against {name!r} is neither a CSV file nor one of {', '.join(FAMILIES)}.")
    table = probabilities_of(read_counts(Path(name)))
    if len(table) > len(counts):
        table = table[: len(counts)]  # what lies beyond is counted by CountFit
    return CountFit(name, {}, torch.cat([table, table.new_zeros(len(counts) - len(table))]))


def _as_json(counts: Tensor, fits: list[CountFit], nats: list[float], order: list[int]) -> dict[str, Any]:
    rows = [
        {
            "name": fits[i].name,
            "parameters": fits[i].parameters,
            "nats": nats[i] if math.isfinite(nats[i]) else "infinite",
            "bits": nats[i] / math.log(2) if math.isfinite(nats[i]) else "infinite",
            "probabilities": fits[i].probabilities.tolist(),
        }
        for i in order
    ]
    return {"counts": counts.tolist(), "mean": mean_of(counts), "against": rows, "version": nelbo.__version__}


def _shown(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "infinite"
