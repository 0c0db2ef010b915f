"""`nelbo restore`: a damaged image, and what it may have been."""

from pathlib import Path
from typing import Annotated

import torch
import typer
from PIL import Image
from torch import Tensor

import nelbo
from nelbo.cli.console import bars, err
from nelbo.cli.options import DeviceOption, GuidanceOption, SamplerOption
from nelbo.data import Picture, Reject, read_pictures
from nelbo.errors import ConfigurationError, DataError
from nelbo.plots import check_ending, restoration_strip, save
from nelbo.probability import levels_to_data
from nelbo.restoration import Restoration
from nelbo.runs import METHODS, DiffusionRun, Repair, expected_shape, load_as, the_damage


def restore(
    image: Annotated[str, typer.Argument(help="The damaged image, of the model's size and mode.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="A run folder, or a bundled model such as fashion-mnist.")
    ],
    mask: Annotated[
        Path | None, typer.Option(help="Fill in: a picture that is white where IMAGE is damaged, black where kept.")
    ] = None,
    noise: Annotated[
        float | None, typer.Option(help="Denoise: the noise's standard deviation in grey levels (of 0..255).")
    ] = None,
    upscale: Annotated[int | None, typer.Option(help="Enlarge an IMAGE that is 2, 4, ... times too small.")] = None,
    colour: Annotated[bool, typer.Option("--colour", help="Give colour to a grey IMAGE.")] = False,
    strength: Annotated[
        float | None, typer.Option(help="Image to image: the share of the chain to go back, above 0 and at most 1.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The restored image: .png, .webp, .bmp or .tiff; or .npy for all draws.")
    ] = Path("restored.png"),
    mean: Annotated[
        bool, typer.Option("--mean", help="Write the mean, nearest on average, instead of the first draw.")
    ] = False,
    spread: Annotated[
        Path | None, typer.Option(help="A picture of the draws, their mean and where they differ: .png, .pdf or .svg.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="How many draws.")] = 4,
    method: Annotated[str | None, typer.Option(help=f"Of --mask: {', '.join(METHODS)}; repaint if absent.")] = None,
    sampler: SamplerOption = None,
    steps: Annotated[int | None, typer.Option(help="Reverse steps; 50 if absent, 20 by repaint.")] = None,
    eta: Annotated[float | None, typer.Option(help="Of ddim: how much of the noise is drawn, 0..1.")] = None,
    label: Annotated[
        str | None, typer.Option(help="The class by name or number, for a class-conditional model.")
    ] = None,
    guidance: GuidanceOption = None,
    jump: Annotated[int | None, typer.Option(help="Of repaint: steps walked again at a time; 1 if absent.")] = None,
    resamplings: Annotated[
        int | None, typer.Option(help="Of repaint: how often each is walked in all; 3 if absent.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draw i of a seed is always the same.")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Draws a pass through the network.")] = 64,
    device: DeviceOption = None,
) -> None:
    """Restore an image: fill in, denoise, enlarge, colour, or redraw. Name exactly one damage.

    Whatever is known comes back: pixels that a mask keeps exactly, the means of an enlarged image up to rounding.
    Where several images fit, the draws differ; --spread shows where.
    """
    how: Repair = {"noise": noise, "upscale": upscale, "colour": colour, "strength": strength}
    damage = the_damage({**how, "mask": None if mask is None else torch.empty(0)})
    _check_targets(out, spread, num, [Path(image), *([] if mask is None else [mask])])
    run = load_as(DiffusionRun, model, device=device)
    if run.levels != 256:
        raise ConfigurationError(
            f"{model} knows {run.levels} levels, and pictures have 256: restore arrays with run.restore, in Python."
        )
    shape = expected_shape(run, damage, upscale)
    pixels = _picture(image, shape, run.shape, damage)
    missing = None if mask is None else _mask(mask, run.shape)
    how |= {"mask": missing, "num": num, "method": method, "sampler": sampler, "steps": steps, "eta": eta}
    how |= {"label": label, "guidance": guidance}
    how |= {"jump": jump, "resamplings": resamplings, "seed": seed, "batch_size": batch_size}
    with bars() as bar:
        how["progress"] = lambda done, total: bar("steps", done, total)
        restored = run.restore(pixels, **how)
    if out.suffix.lower() == ".npy":
        array = restored.mean.numpy() if mean else restored.draws.numpy()
        nelbo.files.write_array(out, array)
    else:
        save(_image_of(restored, mean, run.levels), out)
    err.print(f"the restored image: {out}", highlight=False, soft_wrap=True)
    if spread is not None:
        damaged = levels_to_data(pixels, run.levels)
        if missing is not None:
            damaged = torch.where(missing, torch.nan, damaged)
        save(restoration_strip(damaged, restored, run.levels), spread)
        err.print(f"the draws and their spread: {spread}", highlight=False, soft_wrap=True)


def _check_targets(out: Path, spread: Path | None, num: int, given: list[Path]) -> None:
    """Refuse, before the work, what could not be written after it, and what would be lost by it."""
    targets = [("--out", out), *([] if spread is None else [("--spread", spread)])]
    for flag, target in targets:
        nelbo.files.check_target(target)
        if any(target.resolve() == path.resolve() for path in given):
            raise ConfigurationError(f"{flag} {target} would overwrite what was given; name another file.")
    if len({target.resolve() for _, target in targets}) < len(targets):
        raise ConfigurationError(f"--out and --spread are both {out}; name two files.")
    if out.suffix.lower() not in (".png", ".webp", ".bmp", ".tif", ".tiff", ".npy"):
        raise ConfigurationError(f"--out {out} must end in .png, .webp, .bmp, .tiff or .npy.")
    if spread is not None:
        if num < 2:
            raise ConfigurationError("--spread shows how draws differ: give --num 2 or more.")
        check_ending(spread, name="spread")


def _picture(spec: str, shape: tuple[int, int, int], whole: tuple[int, int, int], damage: str) -> Tensor:
    """The damaged image (C, H, W) uint8, which must be of `shape`; grey serves a model in colour as it is.

    Raises:
        DataError: it cannot be read, is not one image, or is of another size or mode.
    """
    pixels = _one_picture(spec).pixels
    (channels, height, width), given = shape, tuple(pixels.shape[1:])
    if given != (height, width):
        smaller = (
            f", so for --{damage} {whole[2] // width} the image is {width}x{height}" if damage == "upscale" else ""
        )
        raise DataError(
            f"{spec} is {given[1]}x{given[0]}, and the model makes {whole[2]}x{whole[1]}{smaller}; crop or resize it."
        )
    if channels == 1 and len(pixels) == 3:
        why = "has its colours" if damage == "colour" else "is in colour, and the model is grey"
        raise DataError(f"{spec} {why}; a grey image is expected here: convert it first.")
    return pixels.expand(channels, -1, -1)


def _mask(path: Path, whole: tuple[int, int, int]) -> Tensor:
    """Bool (H, W), true where the mask is white.

    Raises:
        DataError: it cannot be read, is of another size than the model's images, or has more than black and white.
    """
    pixels = _one_picture(str(path)).pixels
    height, width = whole[1:]
    if tuple(pixels.shape[1:]) != (height, width):
        raise DataError(
            f"the mask {path} is {pixels.shape[2]}x{pixels.shape[1]}, and the image {width}x{height}: they must agree."
        )
    between = pixels[(pixels != 0) & (pixels != 255)]
    if len(pixels) != 1 or len(between):
        what = "colours" if len(pixels) != 1 else f"grey ({int(between[0])})"
        raise DataError(
            f"the mask {path} has {what}, and must be black (kept) and white (to be filled in) only; save it as PNG, "
            "since JPEG blurs edges."
        )
    return pixels[0] == 255


def _one_picture(spec: str) -> Picture:
    """The one image of a name. Raises DataError where it cannot be read, or there are several."""
    if not Path(spec).exists():
        raise DataError(f"there is no file {spec}; expected a picture.")
    found = list(read_pictures(spec, num=2))
    if len(found) != 1:
        raise DataError(f"{spec} holds several images; name one file.")
    if isinstance(found[0], Reject):
        raise DataError(f"{found[0].path} cannot be used: {found[0].reason}")
    return found[0]


def _image_of(restored: Restoration, mean: bool, levels: int) -> Image.Image:
    """The first draw, or the mean to the nearest level, pixel for pixel; level k as 255 k / (K - 1)."""
    image = restored.mean.round().clamp(0, levels - 1) if mean else restored.draws[0].double()
    pixels = (image * (255 / (levels - 1))).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
