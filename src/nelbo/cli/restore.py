"""`nelbo restore`: draw what a damaged image may have been."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import bars, say
from nelbo.cli.options import DeviceOption, ModelOption, VectorOption, flag_help, parse_vector
from nelbo.cli.outputs import check_outputs
from nelbo.errors import ConfigurationError
from nelbo.options import options_from
from nelbo.runs.restore_options import RestoreOptions

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from nelbo.data import LevelScale
    from nelbo.restoration import Restoration
    from nelbo.runs import DiffusionRun

DEFAULTS = PICTURE, VALUE = Path("restored.png"), Path("restored.tif")
PICTURES, VALUES, ARRAYS = (".png", ".webp", ".bmp", ".tif", ".tiff"), (".tif", ".tiff"), (".npy",)


def _help(field: str) -> str:
    return flag_help(RestoreOptions, field)


def restore(
    image: Annotated[
        str,
        typer.Argument(
            help="Damaged image. Another size or colour mode is converted as in training; for --upscale, the size must "
            "be that of the model's images divided by the factor."
        ),
    ],
    model: ModelOption,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Inpaint: a mask image of the size of the image, or of the model's images: white where pixels are "
            "missing, black elsewhere. Or `nan`, for the pixels of measured values that are NaN."
        ),
    ] = None,
    noise: Annotated[float | None, typer.Option(help=_help("noise"))] = None,
    upscale: Annotated[int | None, typer.Option(help=_help("upscale"))] = None,
    colour: Annotated[bool, typer.Option("--colour", help=_help("colour"))] = False,
    strength: Annotated[float | None, typer.Option(help=_help("strength"))] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Output file: one image (.png, .webp, .bmp, .tiff; of measured values .tif), or all samples (.npy). "
            "Default: restored.png, or restored.tif of measured values.",
            show_default=False,
        ),
    ] = None,
    mean: Annotated[
        bool,
        typer.Option(
            "--mean",
            help="Write the mean of all samples instead of the first sample: its expected squared error is lower. With "
            "--noise, the posterior mean from one network call is used.",
        ),
    ] = False,
    spread: Annotated[
        Path | None,
        typer.Option(
            help="Output file for a figure of the samples, their mean and their standard deviation (.png, .pdf, .svg)."
        ),
    ] = None,
    num: Annotated[int, typer.Option(min=1, help=_help("num"))] = 4,
    method: Annotated[str | None, typer.Option(help=_help("method"))] = None,
    sampler: Annotated[str | None, typer.Option(help=_help("sampler"))] = None,
    steps: Annotated[int | None, typer.Option(help=_help("steps"))] = None,
    eta: Annotated[float | None, typer.Option(help=_help("eta"))] = None,
    label: Annotated[str | None, typer.Option(help=_help("label"))] = None,
    vector: VectorOption = None,
    condition_image: Annotated[Path | None, typer.Option(help=_help("condition_image"))] = None,
    guidance: Annotated[float | None, typer.Option(help=_help("guidance"))] = None,
    jump: Annotated[int | None, typer.Option(help=_help("jump"))] = None,
    resamplings: Annotated[int | None, typer.Option(help=_help("resamplings"))] = None,
    resize: Annotated[
        bool,
        typer.Option(
            "--resize/--no-resize",
            help=_help("resize"),
        ),
    ] = True,
    seed: Annotated[int, typer.Option(help=_help("seed"))] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help=_help("batch_size"))] = 64,
    device: DeviceOption = None,
) -> None:
    """Restore a damaged image: inpaint, denoise, upscale, colourise, or edit it.

    Specify exactly one of --mask, --noise, --upscale, --colour and --strength. With --mask, --upscale and --colour, the
    result is consistent with the input: pixels that the mask keeps are exact; the block means of an upscaled image and
    the brightness of a colourised image are exact up to rounding. If several results are plausible, the samples differ;
    --spread plots the differences.
    """
    given: dict[str, Any] = {
        "mask": mask,
        "noise": noise,
        "upscale": upscale,
        "colour": colour,
        "strength": strength,
        "num": num,
        "method": method,
        "sampler": sampler,
        "steps": steps,
        "eta": eta,
        "label": label,
        "vector": parse_vector(vector),
        "condition_image": condition_image,
        "guidance": guidance,
        "jump": jump,
        "resamplings": resamplings,
        "resize": resize,
        "seed": seed,
        "batch_size": batch_size,
    }
    options = options_from(RestoreOptions, given)  # mistakes are reported before torch is imported
    if out is not None and out.suffix.lower() not in PICTURES + ARRAYS:
        raise ConfigurationError(f"--out {out} must end in .png, .webp, .bmp, .tiff or .npy.")
    if spread is not None and num < 2:
        raise ConfigurationError("--spread shows how the draws differ; set --num 2 or more.")
    for each in DEFAULTS if out is None else [out]:
        check_outputs({"--out": each, "--spread": spread}, [image, mask], model)
    from nelbo.plots import check_ending
    from nelbo.runs import DiffusionRun, load_as, prepare_damaged

    if spread is not None:
        check_ending(spread, name="spread")
    run = load_as(DiffusionRun, model, device=device)
    if (scale := run.config.data.level_scale) is not None:
        return _restore_measured(run, scale, image, given, mean, out or VALUE, spread)
    require_pictures(run, model)
    damaged = prepare_damaged(image, options, run.config.data)
    missing = damaged.options.mask
    with bars() as bar:
        restored = run.restore(damaged.pixels, **{**given, "mask": missing}, progress=bar.of("steps"))
    _write(restored, mean, run.levels, out or PICTURE)
    if spread is not None:
        _write_spread(damaged.pixels, missing, restored, run.levels, spread)


def _restore_measured(
    run: DiffusionRun,
    scale: LevelScale,
    image: str,
    given: Mapping[str, Any],
    mean: bool,
    out: Path,
    spread: Path | None,
) -> None:
    """Restore the missing pixels of an image of measured values, and write it in its own type."""
    from nelbo.data import write_values
    from nelbo.runs import values_of

    if spread is not None:
        raise ConfigurationError("--spread needs a model of images of 8 bits; write all samples to a .npy file.")
    if out.suffix.lower() not in (*VALUES, *ARRAYS):
        raise ConfigurationError(f"--out {out} must end in .tif, .tiff or .npy: the image has measured values.")
    with bars() as bar:
        restored = run.restore(image, **given, progress=bar.of("steps"))
    values = values_of(restored, scale, mean=mean)
    write_values(out, values if mean or out.suffix.lower() in ARRAYS else values[0])
    say(f"the restored image is in {out}")


def require_pictures(run: DiffusionRun, model: str) -> None:
    """Check that the model has the 256 levels of a picture file."""
    if run.levels != 256:
        raise ConfigurationError(
            f"the model {model} has {run.levels} levels, but pictures have 256; restore arrays in Python with "
            "`run.restore`."
        )


def _write(restored: Restoration, mean: bool, levels: int, out: Path) -> None:
    """Write one image, or all draws (or their mean) as an array."""
    from nelbo.files import write_array
    from nelbo.plots import save

    if out.suffix.lower() in ARRAYS:
        write_array(out, restored.mean.numpy() if mean else restored.draws.numpy())
    else:
        save(_image_of(restored, mean, levels), out)
    say(f"the restored image is in {out}")


def _image_of(restored: Restoration, mean: bool, levels: int) -> Image.Image:
    """Return the first draw, or the mean rounded to levels."""
    import torch

    from nelbo.plots import single_image

    image = restored.mean.round().clamp(0, levels - 1).to(torch.uint8) if mean else restored.draws[0]
    return single_image(image, levels)


def _write_spread(damaged: Tensor, missing: Tensor | None, restored: Restoration, levels: int, spread: Path) -> None:
    """Write the figure of the draws and their standard deviation."""
    import torch

    from nelbo.plots import restoration_strip, save
    from nelbo.probability import levels_to_data

    shown = levels_to_data(damaged, levels)
    if missing is not None:
        shown = torch.where(missing, torch.nan, shown)
    save(restoration_strip(shown, restored, levels), spread)
    say(f"the samples and their spread are in {spread}")
