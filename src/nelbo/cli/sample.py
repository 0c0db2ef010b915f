"""`nelbo sample`: Algorithm 2 into a picture."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import nelbo
from nelbo.cli.console import bars, err
from nelbo.cli.kinds import refuse_chain_options
from nelbo.cli.options import (
    BatchOption,
    DeviceOption,
    GuidanceOption,
    PrecisionOption,
    SamplerOption,
    SpacingOption,
    StepsOption,
)
from nelbo.errors import ConfigurationError
from nelbo.plots import picture_of, save
from nelbo.runs import DiffusionRun, How
from nelbo.training import Processes


def sample(
    run: Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")],
    out: Annotated[
        Path, typer.Option(help="A picture (.png, .webp) of all samples, or .npy for the pixels themselves.")
    ] = Path("samples.png"),
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="How many images.")] = 64,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    spacing: SpacingOption = None,
    seed: Annotated[int, typer.Option(help="Image i of a seed is always the same image.")] = 0,
    label: Annotated[
        str | None, typer.Option(help="A class by name or number, or all in turn, for a class-conditional model.")
    ] = None,
    guidance: GuidanceOption = None,
    guidance_interval: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Between which shares of the chain, 0 the image and 1 noise, --guidance holds."),
    ] = None,
    eta: Annotated[float | None, typer.Option(help="Of ddim: how much of the noise is drawn, 0..1.")] = None,
    churn: Annotated[float | None, typer.Option(help="Of euler and heun: how much noise is stirred in.")] = None,
    variance: Annotated[str | None, typer.Option(help="calibrated, trained, fixed-large or fixed-small.")] = None,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--no-clip", help="Hold predicted images within the range of data; held if absent."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Clip each predicted image at this quantile of its own pixels, such as 0.995.")
    ] = None,
    precision: PrecisionOption = None,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Draw images from a trained model."""
    if out.suffix.lower() not in (".png", ".webp", ".npy"):
        raise ConfigurationError(f"--out {out} must end in .png, .webp or .npy.")
    nelbo.files.check_target(out)
    processes = Processes.here()
    processes.meet()
    if variance is not None and sampler not in (None, "ancestral"):
        raise ConfigurationError(f"--variance is that of Algorithm 2, and {sampler!r} has no use for it; leave it out.")
    if threshold is not None and clip is not None:
        raise ConfigurationError("--threshold clips in its own way: leave --clip and --no-clip out.")
    model = nelbo.load(run, device=device or processes.device)
    how: How = {
        "steps": steps,
        "spacing": spacing,
        "eta": eta,
        "churn": churn,
        "variance": variance,
        "threshold": threshold,
        "guidance": guidance,
    }
    if not isinstance(model, DiffusionRun):
        chain = {f"--{name}": value for name, value in how.items()}
        chain |= {"--sampler": sampler, "--label": label, "--guidance-interval": guidance_interval}
        refuse_chain_options(run, {**chain, "--clip/--no-clip": clip, "--precision": precision})
    how |= {"clip": clip is not False, "precision": precision or "auto"}
    if guidance_interval is not None:
        how["guidance_interval"] = guidance_interval
    labels = labels_of(model, label, num) if label is not None and isinstance(model, DiffusionRun) else None
    parts: dict[int, torch.Tensor] = {}
    own = range(processes.index * batch_size, num, processes.count * batch_size)
    with bars() as bar:
        for turn, start in enumerate(own):
            size = min(batch_size, num - start)

            def progress(done: int, total: int, turn: int = turn) -> None:
                bar("sampling", turn * total + done, len(own) * total)

            if isinstance(model, DiffusionRun):
                parts[start] = model.sample(
                    size,
                    sampler=sampler or "ancestral",
                    seed=seed,
                    first=start,
                    label=None if labels is None else labels[start : start + size],
                    batch_size=batch_size,
                    progress=progress,
                    **how,
                )
            else:
                parts[start] = model.sample(size, seed=seed, first=start, batch_size=batch_size, progress=progress)
    images = torch.cat(list(processes.union(parts).values()))
    if processes.index > 0:
        return
    if out.suffix.lower() == ".npy":
        nelbo.files.write_whole(out, lambda place: write_array(place, images.numpy()))
    else:
        save(picture_of(images, model.levels), out)
    err.print(f"{num} image{'s' * (num != 1)} in {out}", highlight=False)


def labels_of(model: DiffusionRun, label: str, num: int) -> torch.Tensor:
    """(num,) the class of each image: one for all of them, or every class in turn."""
    if label == "all":
        return torch.arange(num) % max(len(model.config.data.class_names), 1)
    return torch.full((num,), model.label(label))


def write_array(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """An array into a .npy file of exactly this name."""
    with path.open("wb") as file:
        np.save(file, array)
