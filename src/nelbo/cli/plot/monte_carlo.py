"""`nelbo plot monte-carlo`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import bars, emit_json, out, write_csv
from nelbo.cli.options import DeviceOption
from nelbo.cli.plot.common import DataOption, OutOption, SeedOption, images_for, keep
from nelbo.plots import monte_carlo_curves
from nelbo.runs import VAERun, load_as

HEADINGS = {
    "plain": "plain Monte Carlo",
    "importance": "weighted",
    "elbo": "ELBO",
    "fitted_importance": "weighted, q fitted",
    "fitted_elbo": "ELBO, q fitted",
}


def monte_carlo(
    run: Annotated[str, typer.Argument(help="The run folder of a variational autoencoder.")],
    picture: OutOption = Path("monte-carlo.png"),
    data: DataOption = None,
    num: Annotated[int, typer.Option(min=1, help="Images, evenly spread over the set; each is decoded S times.")] = 4,
    samples: Annotated[int, typer.Option(min=10, help="Samples of z for each image, and of the prior.")] = 100_000,
    fit: Annotated[
        int, typer.Option(min=0, help="Steps of fitting q(z|x) to each image, beside the encoder's own; 0 for none.")
    ] = 400,
    table_path: Annotated[
        Path | None, typer.Option("--csv", help="Write each image's estimates to this file (- for standard output).")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write it all as JSON to this file (- for standard output).")
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
) -> None:
    """Plain Monte Carlo of log p(x) against the importance-weighted bound and the ELBO, as the samples grow, in nats.

    Each draw of the prior is decoded once and scores every image; draws of q(z|x) serve their own image. Beside the
    encoder's q(z|x) stands one that is fitted to each image: how far the encoder is from the best q of its kind.
    """
    model = load_as(VAERun, run, device=device)
    with bars() as bar:
        images = images_for(model, data, num, bar)
        report = model.log_likelihood(
            images, samples=samples, fit=fit, seed=seed, progress=lambda done, total: bar("samples", done, total)
        )
    keep(monte_carlo_curves(report.samples, report.estimates), picture)
    if table_path is not None:
        write_csv(table_path, report.rows())
    if json is not None:
        used = {"num_images": len(images), "decoder": model.network.options.decoder, "fit": fit, "seed": seed}
        emit_json({**report.to_json(), **used, "version": nelbo.__version__}, json)
    if "-" in (str(table_path), str(json)):
        return
    table = Table(title=f"{run} on {len(images)} images of {images.name}: log p(x), nats", title_justify="left")
    table.add_column("samples S", justify="right")
    for name in report.estimates:
        table.add_column(HEADINGS[name], justify="right")
    for row, s in enumerate(report.samples):
        table.add_row(f"{s:,}", *(f"{float(value[row].mean()):.2f}" for value in report.estimates.values()))
    out.print(table)
    best = report.importance if report.fitted_importance is None else report.fitted_importance
    behind = (best[-1] - report.plain[-1]).tolist()
    out.print(
        f"means over the images; at S = {report.samples[-1]:,} plain Monte Carlo is behind the importance-weighted "
        f"bound by {min(behind):.1f} to {max(behind):.1f} nats an image",
        highlight=False,
        soft_wrap=True,
    )
    if 1000 in report.samples[:-1]:
        rise = (best[-1] - best[report.samples.index(1000)]).tolist()
        out.print(
            f"from S = 1,000 on that bound{' with q fitted' if fit else ''} rises by {sum(rise) / len(rise):.2f} nats "
            f"({min(rise):.2f} to {max(rise):.2f})",
            highlight=False,
            soft_wrap=True,
        )
