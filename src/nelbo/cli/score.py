"""`nelbo score`: how surprising each image is to a model."""

import csv
import io
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

import nelbo
from nelbo.cli.console import bars, emit_json, name_rejects, out
from nelbo.cli.kinds import refuse_chain_options
from nelbo.cli.options import DeviceOption
from nelbo.data import load_for_model
from nelbo.files import write_text
from nelbo.runs import DiffusionRun, Report

SHOWN = 10


def score(
    images: Annotated[
        str, typer.Argument(help="A folder of images, one image, .npy, .npz, or the name of a data set.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A run folder, or a bundled model such as fashion-mnist.")
    ],
    csv_: Annotated[
        Path | None, typer.Option("--csv", help="Write image, bits_per_dim to this file (- for standard output).")
    ] = None,
    json: Annotated[
        Path | None, typer.Option(help="Write the scores as JSON to this file (- for standard output).")
    ] = None,
    resize: Annotated[
        bool, typer.Option("--resize", help="Bring images of other sizes or modes to the model's.")
    ] = False,
    steps_per_image: Annotated[
        int | None, typer.Option(min=0, help="Values of t looked at for each image (0: every t); 32 if absent.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the noise and the choice of t.")] = 0,
    device: DeviceOption = None,
) -> None:
    """Score images in bits/dim, the most surprising first.

    A score is an unbiased draw of the bound on -log2 p(image), divided by its dimensions; more --steps-per-image make
    it less noisy.
    """
    run = nelbo.load(model, device=device)
    if not isinstance(run, DiffusionRun):
        refuse_chain_options(model, {"--steps-per-image": steps_per_image})
    with bars() as bar:
        dataset, names = load_for_model(
            images, run.shape, resize=resize, progress=lambda done, total: bar("reading images", done, total)
        )

        def scoring(done: int, total: int) -> None:
            bar("scoring", done, total)

        if isinstance(run, DiffusionRun):
            looks = 32 if steps_per_image is None else steps_per_image or None
            report: Report = run.bound(dataset, steps_per_image=looks, seed=seed, progress=scoring)
        else:
            report = run.bound(dataset, seed=seed, progress=scoring)
    bits = report.scores.tolist()
    ranking = sorted(zip(names, bits, strict=True), key=lambda pair: -pair[1])
    if csv_ is not None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["image", "bits_per_dim"])
        writer.writerows([name, f"{value:.5f}"] for name, value in ranking)
        if str(csv_) == "-":
            print(text.getvalue(), end="")
        else:
            write_text(csv_, text.getvalue())
    if json is not None:
        rows = [{"image": name, "bits_per_dim": value} for name, value in ranking]
        rejects = [vars(reject) for reject in dataset.rejects]
        emit_json({"model": str(model), "scores": rows, "rejects": rejects, "version": nelbo.__version__}, json)
    if "-" in (str(csv_), str(json)):
        return
    table = Table(
        title=f"{len(bits)} image{'s' * (len(bits) != 1)}, mean {report.total:.3f} bits/dim", title_justify="left"
    )
    table.add_column("image", overflow="fold")
    table.add_column("bits/dim", justify="right")
    for name, value in ranking[:SHOWN]:
        table.add_row(name, f"{value:.3f}")
    if len(ranking) > SHOWN:
        table.add_row("...", "...")
        table.add_row(ranking[-1][0], f"{ranking[-1][1]:.3f}")
    out.print(table)
    name_rejects(dataset.rejects)
