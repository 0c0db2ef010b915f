"""`nelbo kl`: the distribution that fits counts best, by KL divergence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from nelbo.cli.console import out, show
from nelbo.cli.options import JsonOption
from nelbo.cli.outputs import check_outputs
from nelbo.cli.plot.common import figure_path, keep
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.probability import CountFit

FAMILY_NAMES = ("uniform", "binomial", "poisson", "geometric")  # the keys of `nelbo.probability.FAMILIES`
EXAMPLE = "worms"


def kl(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COUNTS [FAMILY]",
            help="CSV file of counts, optionally followed by distributions to compare with.",
        ),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Distribution to compare with (repeatable): {', '.join(FAMILY_NAMES)}, or another CSV file of "
            "counts; by default all four families."
        ),
    ] = None,
    example: Annotated[
        str | None, typer.Option(help=f"Use the bundled example counts; the only example is {EXAMPLE}.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--out", help="Output file for a plot of the distributions (.png, .pdf or .svg).")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Fit distributions to counts by maximum likelihood, and compare them by KL(observed || fitted), in nats and bits.

    The lines of the CSV are the counts of the values 0, 1, 2, ... in order, or pairs `value,count`. KL is at
    least 0, and 0 only for equal distributions. It is not symmetric. It is infinite if the fitted probability of an
    observed value is 0.
    """
    given = [*(words or []), *(against or [])]
    if picture is None:
        check_outputs({"--json": json}, given)
    else:
        figure_path(picture, json=json, inputs=given)
    counts, names = _counts_and_names(words or [], against or [], example)
    from nelbo.probability import probabilities_of

    observed = probabilities_of(counts)
    fits = [_fitted(name, counts) for name in names]
    nats = [fit.divergence(observed) for fit in fits]
    ranking = sorted(zip(nats, fits, strict=True), key=lambda pair: pair[0])
    if prints_table(json):
        _show(counts, observed, ranking)

    def figure() -> None:
        from nelbo.plots import count_bars

        if picture is not None:
            keep(count_bars(observed, fits, nats), picture)

    write_results(versioned(_plain(counts, ranking)), json, figure=figure)


def _counts_and_names(words: list[str], against: list[str], example: str | None) -> tuple[Tensor, list[str]]:
    """Return the counts, and the distributions to compare with. These may follow --against without another --against.

    Raises:
        ConfigurationError: an unknown example, or no file of counts.
    """
    if example is not None and example != EXAMPLE:
        raise ConfigurationError(f"unknown example {example!r}; expected {EXAMPLE}.")
    files = [word for word in words if word not in FAMILY_NAMES]
    if example is None and not files:
        raise ConfigurationError(
            f"name a CSV file of counts, such as `nelbo kl counts.csv`, or give --example {EXAMPLE}."
        )
    from nelbo.data import example_counts, read_counts
    from nelbo.paths import expanded

    if example is not None:
        return example_counts(), [*against, *words] or list(FAMILY_NAMES)
    families = [word for word in words if word != files[0]]
    return read_counts(expanded(files[0])), [*against, *families] or list(FAMILY_NAMES)


def _fitted(name: str, counts: Tensor) -> CountFit:
    """Fit a family by its name, or read another distribution from a CSV file of counts.

    Raises:
        ConfigurationError: the name is neither.
    """
    import torch

    from nelbo.data import read_counts
    from nelbo.paths import expanded
    from nelbo.probability import FAMILIES, CountFit, probabilities_of

    if name in FAMILIES:
        return FAMILIES[name](counts)
    path = expanded(name)
    if not path.is_file():
        raise ConfigurationError(f"--against {name!r} is neither a CSV file nor one of {', '.join(FAMILIES)}.")
    table = probabilities_of(read_counts(path))[: len(counts)]  # `CountFit.beyond` is the mass of the rest
    return CountFit(name, {}, torch.cat([table, table.new_zeros(len(counts) - len(table))]))


def _plain(counts: Tensor, ranking: list[tuple[float, CountFit]]) -> dict[str, Any]:
    """The results as plain values, best fit first."""
    from nelbo.probability import mean_of

    rows = [
        {
            "name": fit.name,
            "parameters": fit.parameters,
            "nats": nats if math.isfinite(nats) else "infinite",
            "bits": nats / math.log(2) if math.isfinite(nats) else "infinite",
            "probabilities": fit.probabilities.tolist(),
        }
        for nats, fit in ranking
    ]
    return {"counts": counts.tolist(), "mean": mean_of(counts), "against": rows}


def _show(counts: Tensor, observed: Tensor, ranking: list[tuple[float, CountFit]]) -> None:
    """Print the table, best fit first, and where a divergence is infinite."""
    from nelbo.probability import entropy_of, mean_of

    show(
        f"{float(counts.sum()):g} counted, values 0..{len(counts) - 1}, mean {mean_of(counts):.6g}, "
        f"entropy {entropy_of(counts):.6f} nats"
    )
    table = Table()
    for column in ("against", "fitted", "KL, nats", "KL, bits"):
        table.add_column(column, justify="right" if column.startswith("KL") else "left")
    for place, (nats, fit) in enumerate(ranking):
        fitted = ", ".join(f"{name} = {value:.6g}" for name, value in fit.parameters.items())
        best = place == 0 and len(ranking) > 1
        table.add_row(fit.name, fitted, *map(_number, (nats, nats / math.log(2))), style="bold" if best else "")
    out.print(table)
    for nats, fit in ranking:
        if math.isinf(nats):
            where = ((fit.probabilities == 0) & (observed > 0)).nonzero().flatten().tolist()
            show(f"{fit.name} gives probability 0 to the observed values {where}: KL is infinite")
    if len(ranking) > 1 and math.isfinite(ranking[0][0]):
        show(f"the nearest is {ranking[0][1].name}")


def _number(value: float) -> str:
    return f"{value:.6f}" if math.isfinite(value) else "infinite"
