"""`nelbo frechet`: the Frechet distance between a run's samples and real images, in the features of a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import bars, show
from nelbo.cli.options import (
    BatchOption,
    DeviceOption,
    GuidanceIntervalOption,
    GuidanceOption,
    JsonOption,
    PrecisionOption,
    RunArgument,
    SamplerOption,
    SpacingOption,
    StepsOption,
)
from nelbo.cli.outputs import check_outputs
from nelbo.cli.plot.common import images_for
from nelbo.cli.results import prints_table, versioned, write_results
from nelbo.errors import ConfigurationError
from nelbo.options import known
from nelbo.progress import Bars
from nelbo.runs.sampling_options import SamplingOptions

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.data import ImageDataset
    from nelbo.runs import Run

REFERENCES = {"test": "held-out images", "train": "training images"}


def frechet(
    run: RunArgument,
    num: Annotated[
        int,
        typer.Option(min=1, help="Number of samples. Only compare distances computed from the same number of samples."),
    ] = 1000,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    spacing: SpacingOption = None,
    guidance: GuidanceOption = None,
    guidance_interval: GuidanceIntervalOption = None,
    reference: Annotated[
        str | None,
        typer.Option(
            help="Images of the run to compare with: test (the held-out images, the default) or train (the training "
            "images)."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Other images to compare with: a folder, a .npy or .npz file, or the name of a built-in data set. "
            "They are resized and cropped as in training."
        ),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(
            help="Network for the features: a torch.export program (.pt2; opening one can run code, so use only files "
            "that you trust) that maps uint8 images to features, or a classifier saved by nelbo (.safetensors). By "
            "default a classifier of the classes of the data, or a random network if there are no classes."
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples for the confidence interval; at least 20.")] = 200,
    seed: Annotated[int, typer.Option(help="Random seed of the samples and of the bootstrap.")] = 0,
    json: JsonOption = None,
    precision: PrecisionOption = None,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Sample images and report their Frechet distance to real images, with the settings that affect it.

    By default the features come from a small classifier of the classes of the data. One is bundled for digits and
    fashion-mnist; for other images, the command trains one and keeps it in the run folder. For images without classes,
    it uses a random network, which shows gross differences only. Distances with different features are not comparable.
    The command needs the extra metrics.
    """
    if reference is not None:
        known(reference, REFERENCES, "part of the data (--reference)")
        if data is not None:
            raise ConfigurationError("--data replaces the images that --reference names; remove one of them.")
    chosen: dict[str, Any] = {
        "sampler": sampler,
        "steps": steps,
        "spacing": spacing,
        "guidance": guidance,
        "guidance_interval": guidance_interval,
        "precision": precision,
    }
    given = {name: value for name, value in chosen.items() if value is not None}
    check_outputs({"--json": json}, [features, data], run)
    options = SamplingOptions.of(**given)  # mistakes are reported before torch is imported
    import nelbo
    from nelbo.evaluation import frechet_distance, require_comparison, require_torchmetrics
    from nelbo.studies import Listener, features_of_run

    require_torchmetrics()
    model = nelbo.load(run, device=device)
    model.refuse_chain_options(chosen)
    with bars() as bar:
        images, split = _reference(model, reference or "test", data, bar)
        listener = Listener(on_stage=bar)
        network = features_of_run(model, features, needs_data=data is None, device=device, listener=listener)
        require_comparison(num, len(images), network, resamples)
        samples: Tensor = model.sample(num, seed=seed, batch_size=batch_size, progress=bar.of("sampling"), **given)
        report = frechet_distance(
            samples,
            images,
            network,
            split=split,
            resamples=resamples,
            seed=seed,
            progress=bar,
        )
    if prints_table(json):
        show(str(report))
    write_results(versioned({**report.to_json(), "run": str(run), **_chain(model, options)}), json)


def _chain(model: Run, options: SamplingOptions) -> dict[str, Any]:
    """Return the sampler, steps, spacing and guidance that were used; None for each if the model has no chain."""
    from nelbo.runs import DiffusionRun

    names = ("sampler", "steps", "spacing", "guidance", "guidance_interval")
    if not isinstance(model, DiffusionRun):
        return dict.fromkeys(names)
    used = model.model.with_defaults(options)
    return {name: getattr(used, name) for name in names}


def _reference(model: Run, reference: str, data: str | None, bar: Bars) -> tuple[ImageDataset, str]:
    """Read the images to compare with, and say which they are."""
    from nelbo.studies import Listener, data_of

    if data is not None:
        images = images_for(model, data, None, bar)
        return images, f"images of {images.name}"
    split = data_of(model, Listener(on_stage=bar))
    images = split.train if reference == "train" else split.require_test()
    return images, f"{REFERENCES[reference]} of {images.name}"
