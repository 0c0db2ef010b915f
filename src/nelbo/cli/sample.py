"""`nelbo sample`: draw images from a trained model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import bars, say
from nelbo.cli.options import (
    BatchOption,
    DeviceOption,
    GuidanceIntervalOption,
    GuidanceOption,
    PrecisionOption,
    RunArgument,
    SamplerOption,
    SpacingOption,
    StepsOption,
    VectorOption,
    parse_vector,
)
from nelbo.cli.outputs import check_outputs
from nelbo.errors import ConfigurationError
from nelbo.options import help_of
from nelbo.runs.sampling_options import SamplingOptions

if TYPE_CHECKING:
    import torch

    from nelbo.data import ImageDataset, LevelScale
    from nelbo.runs import Run
    from nelbo.training import Processes

PICTURES, ARRAYS = (".png", ".webp"), (".npy",)


def _help(field: str) -> str:
    return help_of(SamplingOptions, field)


def sample(
    run: RunArgument,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Output file: a grid of all images (.png, .webp; a single image in its own size), or their pixels "
            "(.npy). A name without an ending is a folder, for one PNG (measured values: TIFF) file per image.",
        ),
    ] = Path("samples.png"),
    num: Annotated[int, typer.Option("--num", "-n", min=1, help="Number of images.")] = 64,
    sampler: SamplerOption = None,
    steps: StepsOption = None,
    spacing: SpacingOption = None,
    seed: Annotated[
        int, typer.Option(help="Random seed. Image i does not depend on --num or --batch-size, up to rounding.")
    ] = 0,
    label: Annotated[
        str | None,
        typer.Option(
            help="Class by name or number (class-conditional models); `all` cycles through the classes, `none` samples "
            "without a class. By default, classes are drawn by their frequency in training."
        ),
    ] = None,
    vector: VectorOption = None,
    condition_image: Annotated[
        Path | None,
        typer.Option(help="Image to condition on, or a folder with one for each image, in the order of their names."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="Mask picture, white where pixels are missing: these are not drawn, and black in the file."),
    ] = None,
    guidance: GuidanceOption = None,
    guidance_interval: GuidanceIntervalOption = None,
    eta: Annotated[float | None, typer.Option(help=_help("eta"))] = None,
    churn: Annotated[float | None, typer.Option(help=_help("churn"))] = None,
    variance: Annotated[str | None, typer.Option(help=_help("variance"))] = None,
    clip: Annotated[bool | None, typer.Option("--clip/--no-clip", help=_help("clip"))] = None,
    threshold: Annotated[float | None, typer.Option(help=_help("threshold"))] = None,
    threshold_max: Annotated[float | None, typer.Option(help=_help("threshold_max"))] = None,
    precision: PrecisionOption = None,
    batch_size: BatchOption = 64,
    device: DeviceOption = None,
) -> None:
    """Sample images from a trained model."""
    given: dict[str, Any] = {
        "sampler": sampler,
        "steps": steps,
        "spacing": spacing,
        "guidance": guidance,
        "guidance_interval": guidance_interval,
        "eta": eta,
        "churn": churn,
        "variance": variance,
        "clip": clip,
        "threshold": threshold,
        "threshold_max": threshold_max,
        "precision": precision,
    }
    given = {name: value for name, value in given.items() if value is not None}
    SamplingOptions.of(**given)  # mistakes are reported before torch is imported
    _check_out(out, run)
    beside = {"label": label, "vector": parse_vector(vector), "condition_image": condition_image, "mask": mask}
    beside = {name: value for name, value in beside.items() if value is not None}
    _draw(run, out, num, beside, {"seed": seed, "batch_size": batch_size, **given}, device)


def _check_out(out: Path, run: str) -> None:
    """Check, before the work, that the images can be written."""
    if _is_folder(out):
        check_outputs({"--out": out / "0.png"})
        if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise ConfigurationError(
                f"--out {out} is a folder that is not empty; name a new folder for one file per image, or a file that "
                "ends in .png, .webp or .npy."
            )
    elif out.suffix.lower() in PICTURES + ARRAYS:
        check_outputs({"--out": out}, run=run)
    else:
        raise ConfigurationError(f"--out {out} must end in .png, .webp or .npy, or be a folder.")


def _is_folder(out: Path) -> bool:
    return out.suffix.lower() not in PICTURES + ARRAYS and (out.is_dir() or not out.suffix)


def _draw(run: str, out: Path, num: int, beside: dict[str, Any], options: dict[str, Any], device: str | None) -> None:
    """Load the model, draw this process's share of the images, and write all of them from the first process."""
    import torch

    import nelbo
    from nelbo.training import Processes

    processes = Processes.here()
    processes.meet()
    model = nelbo.load(run, device=device or processes.device)
    model.refuse_chain_options({**options, **beside, "seed": None, "batch_size": None})
    model.check_number(num, options["batch_size"])
    if _is_folder(out) and model.shape[1:] == (1, 1):
        raise ConfigurationError(f"--out {out} is a folder, but the model draws points; name a .png or .npy file.")
    parts = _parts(model, processes, num, {**options, **beside})
    images = torch.cat(list(processes.union(parts).values()))
    if processes.index == 0:
        _write(images, out, model.levels, model.config.data.level_scale)
        say(f"{num} image{'s' * (num != 1)} in {out}")


def _parts(model: Run, processes: Processes, num: int, options: dict[str, Any]) -> dict[int, torch.Tensor]:
    """Draw this process's batches: the first image's number -> uint8 images."""
    import torch

    batch_size = options["batch_size"]
    own = range(processes.index * batch_size, num, processes.count * batch_size)
    parts: dict[int, torch.Tensor] = {}
    pairs = _pairs(model, options.pop("condition_image", None), num)
    with bars() as bar:
        for turn, start in enumerate(own):
            size = min(batch_size, num - start)

            def progress(done: int, total: int, turn: int = turn) -> None:
                bar("sampling", turn * total + done, len(own) * total)

            if pairs is not None:
                options["condition_image"] = pairs.subset(torch.arange(start, start + size) % len(pairs))
            parts[start] = model.sample(size, first=start, progress=progress, **options)
    return parts


def _pairs(model: Run, given: Path | None, num: int) -> ImageDataset | None:
    """Read the images to condition on: one, or `num` of a folder."""
    from nelbo.data import as_dataset

    shape = model.config.data.condition_shape
    if given is None:
        return None
    if shape is None:
        raise ConfigurationError("the model was trained without --condition-images; remove --condition-image.")
    pairs = as_dataset(given, shape, 256)
    if len(pairs) not in (1, num):
        raise ConfigurationError(
            f"--condition-image {given} holds {len(pairs)} images; give one image, or --num {len(pairs)}."
        )
    return pairs


def _write(images: torch.Tensor, out: Path, levels: int, scale: LevelScale | None) -> None:
    """Write images: measured values in their own type, unless the output is one picture."""
    from nelbo.data import write_values
    from nelbo.files import whole_folder, write_array
    from nelbo.plots import picture_of, save, single_image

    if _is_folder(out):
        digits = len(str(len(images) - 1))
        with whole_folder(out) as part:
            for i, image in enumerate(images):
                if scale is not None:
                    write_values(part / f"{i:0{digits}}.tif", scale.to_values(image))
                else:
                    save(single_image(image, levels), part / f"{i:0{digits}}.png")
    elif out.suffix.lower() in ARRAYS:
        write_array(out, images.numpy() if scale is None else scale.to_values(images))
    else:
        save(picture_of(images, levels), out)
