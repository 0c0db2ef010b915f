"""`nelbo plot monte-carlo`: estimates of log p(x) of a variational autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from nelbo.cli.console import bars, out, show
from nelbo.cli.options import DataOption, DeviceOption, JsonOption, SeedOption
from nelbo.cli.plot.common import CsvOption, OutOption, figure_path, images_for, keep
from nelbo.cli.results import prints_table, versioned, write_results

if TYPE_CHECKING:
    from nelbo.vae import MonteCarloReport

HEADINGS = {
    "plain": "plain Monte Carlo",
    "importance": "weighted",
    "elbo": "ELBO",
    "fitted_importance": "weighted, q fitted",
    "fitted_elbo": "ELBO, q fitted",
}
MIDDLE = 1000  # number of samples from which the rise of the best bound is reported


def monte_carlo(
    run: Annotated[
        str, typer.Argument(help="Run folder of a variational autoencoder (preset vae-digits or vae-fashion-mnist).")
    ],
    picture: OutOption = Path("monte-carlo.png"),
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Number of images, evenly spaced in the data set.")] = 4,
    samples: Annotated[
        int, typer.Option(min=10, help="Samples of z from the prior, and from q(z|x) for each image.")
    ] = 100_000,
    fit: Annotated[
        int,
        typer.Option(
            min=0, help="Optimizer steps that fit q(z|x) to each image, starting from the encoder's q(z|x); 0 skips it."
        ),
    ] = 400,
    csv_path: CsvOption = None,
    json: JsonOption = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Compare estimates of log p(x) for increasing numbers of samples: Monte Carlo, importance-weighted bound, ELBO.

    Samples from the prior are shared by all images; samples from q(z|x) are drawn per image. q(z|x) is also fitted to
    each image, to show the gap between the encoder and the best q of the same family. Values are in nats.
    """
    path = figure_path(picture, json=json, csv=csv_path, run=run, inputs=[data])
    from nelbo.plots import monte_carlo_curves
    from nelbo.runs import VAERun, load_as

    model = load_as(VAERun, run, device=device)
    with bars() as bar:
        images = images_for(model, data, num, bar)
        report = model.log_likelihood(images, samples=samples, fit=fit, seed=seed, progress=bar.of("samples"))
    settings = {"num_images": len(images), "decoder": model.network.options.decoder, "fit": fit, "seed": seed}
    if prints_table(json, csv_path):
        _show(report, f"{run} on {len(images)} images of {images.name}: log p(x), nats", fitted=fit > 0)
    curves = monte_carlo_curves(report.samples, report.estimates)
    values = versioned({**report.to_json(), **settings})
    write_results(values, json, report.rows(), csv_path, lambda: keep(curves, path))


def _show(report: MonteCarloReport, title: str, fitted: bool) -> None:
    """Print the means over the images, and how the estimates compare."""
    table = Table(title=title, title_justify="left")
    table.add_column("samples S", justify="right")
    for name in report.estimates:
        table.add_column(HEADINGS[name], justify="right")
    for row, num in enumerate(report.samples):
        table.add_row(f"{num:,}", *(f"{float(value[row].mean()):.2f}" for value in report.estimates.values()))
    out.print(table)
    best = report.importance if report.fitted_importance is None else report.fitted_importance
    behind = (best[-1] - report.plain[-1]).tolist()
    show(
        f"means over the images; at S = {report.samples[-1]:,} plain Monte Carlo is {min(behind):.1f} to "
        f"{max(behind):.1f} nats per image below the importance-weighted bound"
    )
    if MIDDLE in report.samples[:-1]:
        rise = (best[-1] - best[report.samples.index(MIDDLE)]).tolist()
        show(
            f"from S = {MIDDLE:,} on that bound{' with q fitted' if fitted else ''} rises by "
            f"{sum(rise) / len(rise):.2f} nats ({min(rise):.2f} to {max(rise):.2f})"
        )
