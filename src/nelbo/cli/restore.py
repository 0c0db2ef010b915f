"""`nelbo restore`: draw what a damaged image may have been."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import bars, say
from nelbo.cli.options import DeviceOption, ModelOption, flag_help
from nelbo.errors import ConfigurationError, DataError
from nelbo.options import options_from
from nelbo.runs.restore_options import RestoreOptions

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from nelbo.data import Picture
    from nelbo.restoration import Restoration
    from nelbo.runs import DiffusionRun

PICTURES, ARRAYS = (".png", ".webp", ".bmp", ".tif", ".tiff"), (".npy",)


def _help(field: str) -> str:
    return flag_help(RestoreOptions, field)


def restore(
    image: Annotated[
        str,
        typer.Argument(
            help="Damaged image, with the size and colour mode of the model's images (smaller for --upscale, grey for "
            "--colour)."
        ),
    ],
    model: ModelOption,
    mask: Annotated[
        Path | None,
        typer.Option(help="Inpaint: a mask image, white where pixels are missing and black elsewhere."),
    ] = None,
    noise: Annotated[float | None, typer.Option(help=_help("noise"))] = None,
    upscale: Annotated[int | None, typer.Option(help=_help("upscale"))] = None,
    colour: Annotated[bool, typer.Option("--colour", help=_help("colour"))] = False,
    strength: Annotated[float | None, typer.Option(help=_help("strength"))] = None,
    out: Annotated[
        Path, typer.Option(help="Output file: one image (.png, .webp, .bmp, .tiff), or all samples (.npy).")
    ] = Path("restored.png"),
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
    guidance: Annotated[float | None, typer.Option(help=_help("guidance"))] = None,
    jump: Annotated[int | None, typer.Option(help=_help("jump"))] = None,
    resamplings: Annotated[int | None, typer.Option(help=_help("resamplings"))] = None,
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
        "guidance": guidance,
        "jump": jump,
        "resamplings": resamplings,
        "seed": seed,
        "batch_size": batch_size,
    }
    options = options_from(RestoreOptions, given)  # mistakes are reported before torch is imported
    if out.suffix.lower() not in PICTURES + ARRAYS:
        raise ConfigurationError(f"--out {out} must end in .png, .webp, .bmp, .tiff or .npy.")
    if spread is not None and num < 2:
        raise ConfigurationError("--spread shows how the draws differ; set --num 2 or more.")
    _check_targets(out, spread, [Path(image), *([] if mask is None else [mask])])
    run = _load(model, device)
    if mask is not None:
        given["mask"] = _mask(mask, run.shape)
    pixels = _damaged(image, replace(options, mask=given["mask"]), run.shape)
    with bars() as bar:
        restored = run.restore(pixels, **given, progress=lambda done, total: bar("steps", done, total))
    _write(restored, mean, run.levels, out)
    if spread is not None:
        _write_spread(pixels, given["mask"], restored, run.levels, spread)


def _check_targets(out: Path, spread: Path | None, inputs: list[Path]) -> None:
    """Check, before the work, that the files can be written and that no input is overwritten."""
    from nelbo.files import check_target
    from nelbo.plots import check_ending

    targets = [("--out", out), *([] if spread is None else [("--spread", spread)])]
    for flag, target in targets:
        check_target(target)
        if any(target.resolve() == path.resolve() for path in inputs):
            raise ConfigurationError(f"{flag} {target} would overwrite an input file; name another file.")
    if len({target.resolve() for _, target in targets}) < len(targets):
        raise ConfigurationError(f"--out and --spread are both {out}; name two files.")
    if spread is not None:
        check_ending(spread, name="spread")


def _load(model: str, device: str | None) -> DiffusionRun:
    """Load the model, which must have the 256 levels of a picture file."""
    from nelbo.runs import DiffusionRun, load_as

    run = load_as(DiffusionRun, model, device=device)
    if run.levels != 256:
        raise ConfigurationError(
            f"the model {model} has {run.levels} levels, but pictures have 256; restore arrays in Python with "
            "`run.restore`."
        )
    return run


def _damaged(spec: str, options: RestoreOptions, whole: tuple[int, int, int]) -> Tensor:
    """Read the damaged image: uint8 (C, H, W). A grey image is accepted by a model in colour.

    Args:
        whole: (C, H, W) of the model's images.

    Raises:
        DataError: the file cannot be read, holds several images, or has another size or mode.
    """
    from nelbo.restoration import build_damage

    channels, height, width = build_damage(options.damage, vars(options)).expected_shape(whole)
    pixels = _one_picture(spec).pixels
    if tuple(pixels.shape[1:]) != (height, width):
        smaller = f", so for --upscale {options.upscale} the image must be {width}x{height}" if options.upscale else ""
        raise DataError(
            f"{spec} is {pixels.shape[2]}x{pixels.shape[1]}, but the model's images are {whole[2]}x{whole[1]}"
            f"{smaller}; crop or resize it."
        )
    if channels == 1 and len(pixels) == 3:
        why = "for --colour" if options.colour else "because the model's images are grey"
        raise DataError(f"{spec} is in colour, but a grey image is expected {why}; convert it first.")
    return pixels.expand(channels, -1, -1)


def _mask(path: Path, whole: tuple[int, int, int]) -> Tensor:
    """Read a mask: bool (H, W), true where the picture is white.

    Raises:
        DataError: the file cannot be read, has another size than the model's images, or other colours.
    """
    pixels = _one_picture(str(path)).pixels
    height, width = whole[1:]
    if tuple(pixels.shape[1:]) != (height, width):
        raise DataError(
            f"the mask {path} is {pixels.shape[2]}x{pixels.shape[1]}, but the model's images are {width}x{height}; the "
            "sizes must be equal."
        )
    between = pixels[(pixels != 0) & (pixels != 255)]
    if len(pixels) != 1 or len(between):
        what = "colours" if len(pixels) != 1 else f"grey pixels ({int(between[0])})"
        raise DataError(
            f"the mask {path} has {what}, but must have only black (keep) and white (fill in); save it as PNG, because "
            "JPEG blurs edges."
        )
    return pixels[0] == 255


def _one_picture(spec: str) -> Picture:
    """Read one image.

    Raises:
        DataError: the file is missing, cannot be read, or holds several images.
    """
    from nelbo.data import Reject, read_pictures

    if not Path(spec).exists():
        raise DataError(f"there is no file {spec}; expected a picture.")
    found = list(read_pictures(spec, num=2))
    if len(found) != 1:
        raise DataError(f"{spec} holds several images; name one file.")
    if isinstance(found[0], Reject):
        raise DataError(f"{found[0].path} cannot be used: {found[0].reason}")
    return found[0]


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
    """Return the first draw, or the mean rounded to levels, pixel for pixel; level k becomes 255 k / (K - 1)."""
    import torch
    from PIL import Image

    image = restored.mean.round().clamp(0, levels - 1) if mean else restored.draws[0].double()
    pixels = (image * (255 / (levels - 1))).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


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
