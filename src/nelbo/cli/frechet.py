"""`nelbo frechet`: how far a run's samples lie from real images, in the features of a network."""

from pathlib import Path
from typing import Annotated

import typer

import nelbo
from nelbo.cli.console import bars, emit_json, out
from nelbo.cli.kinds import refuse_chain_options
from nelbo.cli.options import BatchOption, DeviceOption, PrecisionOption, SamplerOption, SpacingOption, StepsOption
from nelbo.evaluation import frechet_distance, require_comparison, require_torchmetrics
from nelbo.options import known
from nelbo.runs import DiffusionRun
from nelbo.studies import Listener, data_of, features_for, held_out_part

PARTS = {"test": "held-out images", "train": "training images"}


def frechet(
    run: Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")],
    num: Annotated[int, typer.Option(min=1, help="How many samples; compare distances of equal numbers only.")] = 1000,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    spacing: SpacingOption = None,
    reference: Annotated[
        str, typer.Option(help="What to compare with: test, the held-out images, or train, those trained on.")
    ] = "test",
    features: Annotated[
        Path | None,
        typer.Option(help="A TorchScript module from uint8 images to features; the bundled classifier if absent."),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for the interval, 20 or more.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the samples and of the bootstrap.")] = 0,
    json: Annotated[
        Path | None, typer.Option(help="Write everything as JSON to this file (- for standard output).")
    ] = None,
    precision: PrecisionOption = None,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Sample, and report the Frechet distance to real images, with everything that the figure depends on.

    The features are those of a small classifier of the data's own labels, which comes with nelbo for the digits and
    fashion-mnist; for other images give a network. Distances through different features are different figures.
    """
    require_torchmetrics()
    what = PARTS[known(reference, PARTS, "part of the data (--reference)")]
    model = nelbo.load(run, device=device)
    if not isinstance(model, DiffusionRun):
        chain = {"--sampler": sampler, "--steps": steps, "--spacing": spacing}
        refuse_chain_options(run, {**chain, "--precision": precision})
    seen_through = features_for(model.config.data, features, device=device)
    with bars() as bar:
        listener = Listener(on_stage=bar)
        images = data_of(model, listener).train if reference == "train" else held_out_part(model, None, listener)
        require_comparison(num, len(images), seen_through, resamples)

        def sampling(done: int, total: int) -> None:
            bar("sampling", done, total)

        if isinstance(model, DiffusionRun):
            samples = model.sample(
                num,
                sampler=sampler or "ancestral",
                steps=steps,
                spacing=spacing,
                seed=seed,
                precision=precision or "auto",
                batch_size=batch_size,
                progress=sampling,
            )
        else:
            samples = model.sample(num, seed=seed, batch_size=batch_size, progress=sampling)
        report = frechet_distance(
            samples,
            images,
            seen_through,
            split=f"{what} of {images.name}",
            resamples=resamples,
            seed=seed,
            progress=bar,
        )
    if json is not None:
        made = {"run": str(run), "sampler": sampler, "steps": steps, "spacing": spacing, "version": nelbo.__version__}
        emit_json({**report.to_json(), **made}, json)
    if str(json) != "-":
        out.print(str(report), highlight=False, soft_wrap=True)
