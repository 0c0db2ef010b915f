"""`nelbo sample`: Algorithm 2 into a picture."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import nelbo
from nelbo.cli.console import bars, err
from nelbo.cli.kinds import refuse_chain_options
from nelbo.config import DiffusionRun
from nelbo.errors import ConfigurationError
from nelbo.plots import picture_of, save


def sample(
    run: Annotated[str, typer.Argument(help="A run folder, or a bundled model such as fashion-mnist.")],
    out: Annotated[
        Path, typer.Option(help="A picture (.png) of all samples, or .npy for the pixels themselves.")
    ] = Path("samples.png"),
    num: Annotated[int, typer.Option(min=1, help="How many images.")] = 64,
    sampler: Annotated[str | None, typer.Option(help="The way down the chain: ancestral.")] = None,
    steps: Annotated[int | None, typer.Option(help="Reverse steps, 1..T; all T if absent.")] = None,
    seed: Annotated[int, typer.Option(help="Image i of a seed is always the same image.")] = 0,
    label: Annotated[int | None, typer.Option(help="The class, for a class-conditional model.")] = None,
    variance: Annotated[str | None, typer.Option(help="calibrated, trained, fixed-large or fixed-small.")] = None,
    clip: Annotated[
        bool | None,
        typer.Option("--clip/--no-clip", help="Hold predicted images within the range of data; held if absent."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the network: bf16, fp32, or auto by the hardware, as if absent.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a pass through the network.")] = 64,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; the best one if absent.")] = None,
) -> None:
    """Draw images from a trained model."""
    if out.suffix.lower() not in (".png", ".webp", ".npy"):
        raise ConfigurationError(f"--out {out} must end in .png, .webp or .npy.")
    model = nelbo.load(run, device=device)
    if not isinstance(model, DiffusionRun):
        chain = {"--sampler": sampler, "--steps": steps, "--label": label, "--variance": variance}
        refuse_chain_options(run, {**chain, "--clip/--no-clip": clip, "--precision": precision})
    with bars() as bar:
        if isinstance(model, DiffusionRun):
            images = model.sample(
                num,
                sampler=sampler or "ancestral",
                steps=steps,
                seed=seed,
                label=None if label is None else torch.full((num,), label),
                variance=variance,
                clip=clip is not False,
                precision=precision or "auto",
                batch_size=batch_size,
                progress=lambda done, total: bar("network calls", done, total),
            )
        else:
            images = model.sample(
                num, seed=seed, batch_size=batch_size, progress=lambda done, total: bar("images", done, total)
            )
    if out.suffix.lower() == ".npy":
        nelbo.files.write_whole(out, lambda place: write_array(place, images.numpy()))
    else:
        save(picture_of(images, model.levels), out)
    err.print(f"{num} images in {out}", highlight=False)


def write_array(path: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    """An array into a .npy file of exactly this name."""
    with path.open("wb") as file:
        np.save(file, array)
