"""A damaged image restored by a run, as a person says it: one damage, and how to go about it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict, Unpack

import torch
from torch import Generator, Tensor

from nelbo.errors import ConfigurationError, ScheduleError, ShapeError
from nelbo.options import known
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import RESTORATION, image_generators
from nelbo.recipes.assembly import build_variance
from nelbo.restoration import (
    LUMA,
    Average,
    Damage,
    Grey,
    Mask,
    RePaintSampler,
    Restoration,
    denoise,
    edit,
    held_to,
    posterior_mean,
    within_range,
)
from nelbo.runs.sampling import pixels_of
from nelbo.samplers import SAMPLERS, Sampler, Step

if TYPE_CHECKING:
    from nelbo.runs.diffusion_run import DiffusionRun

METHODS = ("null-space", "repaint")
DAMAGES = ("mask", "noise", "upscale", "colour", "strength")
STEPS, REPAINT_STEPS, JUMP, RESAMPLINGS = 50, 20, 1, 3  # on 16 images 46 to 96 calls came out alike
SPACING, VARIANCE = "karras", "fixed-small"  # for what is known of x_0, betatilde is the whole variance of a step
DRAWING = ("ancestral", "dpm-solver++sde")  # samplers that draw noise on the way without being told to


class Repair(TypedDict, total=False):
    """What may be said of a restoration: exactly one of the first five, and how to go about it.

    Attributes:
        mask: bool (H, W), true where pixels are missing.
        noise: the standard deviation of white noise on the image, in levels (0..255 for most models).
        upscale: the image is so many times smaller than the model's, each pixel the mean of a square.
        colour: the image is grey (Rec. 601 luma), the model's are in colour.
        strength: nothing is known but that the image is not right: how much of the chain to go back, 0..1.
        num: how many draws; 4 if absent.
        method: "null-space", or for a mask "repaint", which it is if absent.
        sampler: by name; ancestral if absent, and always for "repaint".
        steps: how many steps to walk; 50 if absent, 20 for "repaint", or all that there are.
        eta: of ddim, 0..1.
        label: for a class-conditional model, the class of the image; see `DiffusionRun.chosen_classes`.
        guidance: how far the label is followed; see `How`.
        jump, resamplings: of repaint; 1 and 3 if absent.
        seed: draw i of a seed is the same, whatever `num` and `batch_size` are, but for the rounding of batches.
        batch_size: draws in a pass through the network; 64 if absent.
        precision: see `How`.
        progress: called with (steps done, steps in all).
    """

    mask: Tensor | None
    noise: float | None
    upscale: int | None
    colour: bool
    strength: float | None
    num: int
    method: str | None
    sampler: str | None
    steps: int | None
    eta: float | None
    label: int | str | Tensor | None
    guidance: float | None
    jump: int | None
    resamplings: int | None
    seed: int
    batch_size: int
    precision: str
    progress: Progress | None


@dataclass(frozen=True)
class Way:
    """How draws come about: `walk`, with generators and labels, goes `steps` steps; `end` has the last word on x_0."""

    steps: int
    walk: Callable[[list[Generator], Tensor | None], Iterator[Step]]
    end: Callable[[Tensor], Tensor] = lambda x_0: x_0


@torch.no_grad()
def restore(run: "DiffusionRun", image: Tensor, **how: Unpack[Repair]) -> Restoration:
    """Draws of what a damaged image (C, H, W), integer levels, may have been.

    The image is of the model's size and channels, but smaller for `upscale` and of one channel for `colour`. Where a
    mask keeps pixels, they come back exactly; what else was measured comes back up to the rounding of pixels. Under
    `noise` the mean is E[x_0|image] in one call of the network.

    Raises:
        ConfigurationError: not exactly one damage, or one that this model, method or sampler has no answer to.
        ShapeError: an image or mask of another shape.
    """
    damage = the_damage(how)
    num, batch_size, progress = how.get("num", 4), how.get("batch_size", 64), how.get("progress")
    run.check_number(num, batch_size)
    labels = run.chosen_classes(how.get("label"), num, how.get("guidance"))
    _check_image(run, image, expected_shape(run, damage, how.get("upscale")))
    y = levels_to_data(image, run.levels).to(run.schedule.alphas_bar.device).unsqueeze(0)
    labels = None if labels is None else labels.to(y.device)
    way = _way(run, damage, y, how)
    draws, batches = list[Tensor](), -(-num // batch_size)
    for b, start in enumerate(range(0, num, batch_size)):
        size = min(batch_size, num - start)
        generators = image_generators(how.get("seed", 0), start, size, RESTORATION)
        own = None if labels is None else labels[start : start + size]
        for done, step in enumerate(way.walk(generators, own)):
            last = step
            if progress is not None:
                progress(b * way.steps + min(done, way.steps), batches * way.steps)
        if progress is not None:  # a walk from low in the chain takes fewer steps
            progress((b + 1) * way.steps, batches * way.steps)
        draws.append(pixels_of(way.end(last.x_0), run.levels))
    return Restoration.of(torch.cat(draws), _mean(run, y, how, labels))


def the_damage(how: Repair) -> str:
    """The one damage that is named.

    Raises:
        ConfigurationError: none is, or several are.
    """
    given = [name for name in DAMAGES if how.get(name) is not None and how.get(name) is not False]
    if len(given) != 1:
        flags = " and ".join(f"--{name}" for name in given) or "none"
        raise ConfigurationError(
            f"name exactly one damage: --mask, --noise, --upscale, --colour or --strength; got {flags}."
        )
    return given[0]


def expected_shape(run: "DiffusionRun", damage: str, factor: int | None) -> tuple[int, int, int]:
    """(C, H, W) of what a damage leaves of this model's images.

    Raises:
        ConfigurationError: the model's images cannot be damaged so.
    """
    channels, height, width = run.shape
    if damage == "colour":
        if channels != 3:
            raise ConfigurationError(
                f"the model in {run.folder} is grey: it has no colour to give; leave --colour out."
            )
        return 1, height, width
    if damage == "upscale":
        assert factor is not None
        if factor < 2 or height % factor or width % factor:
            possible = [str(n) for n in range(2, min(height, width) + 1) if height % n == width % n == 0]
            raise ConfigurationError(
                f"--upscale {factor}: the model's {height} x {width} pixels can be {', '.join(possible)} times as many "
                "a side."
            )
        return channels, height // factor, width // factor
    return channels, height, width


def _way(run: "DiffusionRun", damage: str, y: Tensor, how: Repair) -> Way:
    """The walk that answers to a damage."""
    method = known(how.get("method") or ("repaint" if damage == "mask" else "null-space"), METHODS, "method")
    if method == "repaint" and damage != "mask":
        raise ConfigurationError(f"--method repaint fills in what a --mask hides; leave it out with --{damage}.")
    if how.get("method") is not None and damage in ("noise", "strength"):
        raise ConfigurationError(f"--{damage} enters the chain in the middle, by no --method; leave that out.")
    if method != "repaint" and (how.get("jump") is not None or how.get("resamplings") is not None):
        raise ConfigurationError("--jump and --resamplings are of --method repaint.")
    steps = how.get("steps")
    if steps is None:
        steps = min(REPAINT_STEPS if method == "repaint" else STEPS, run.schedule.num_steps)
    if not 1 <= steps <= run.schedule.num_steps:
        raise ScheduleError(
            f"the number of steps must be within 1..{run.schedule.num_steps}, got {steps}; change --steps."
        )
    if damage in ("noise", "strength"):
        return _entered(run, damage, y, how, steps)
    if method == "repaint":
        painter = _repainter(run, y, how, steps)
        return Way(painter.calls, lambda g, label: painter.trajectory((len(g), *run.shape), g, label))
    return _held(run, damage, y, how, steps)


def _held(run: "DiffusionRun", damage: str, y: Tensor, how: Repair, steps: int) -> Way:
    """Null space: any sampler, held to y."""
    operators: dict[str, Callable[[], Damage]] = {
        "mask": lambda: Mask(~_missing(run, how.get("mask"))),
        "upscale": lambda: Average(how.get("upscale") or 1),
        "colour": lambda: Grey(LUMA),
    }
    operator = operators[damage]()
    walker = held_to(_sampler(run, how, steps), operator, y)
    return Way(
        walker.reverse.schedule.num_steps,
        lambda g, label: walker.trajectory((len(g), *run.shape), g, label),
        lambda x_0: within_range(operator, y, x_0),
    )


def _repainter(run: "DiffusionRun", y: Tensor, how: Repair, steps: int) -> RePaintSampler:
    if how.get("sampler") not in (None, "ancestral"):
        raise ConfigurationError(
            "--method repaint walks by Algorithm 2: leave --sampler out, or give --method null-space with it."
        )
    kept, jump, resamplings = ~_missing(run, how.get("mask")), how.get("jump"), how.get("resamplings")
    if jump is not None and jump >= steps:
        raise ConfigurationError(
            f"--jump is {jump}, but a walk of {steps} steps leaves no room for it: at most {steps - 1}, or more "
            "--steps."
        )
    reverse = _sampler(run, how, steps).reverse
    return RePaintSampler(
        reverse, y, kept, JUMP if jump is None else jump, RESAMPLINGS if resamplings is None else resamplings
    )


def _entered(run: "DiffusionRun", damage: str, y: Tensor, how: Repair, steps: int) -> Way:
    """Denoising and image to image: the walk begins in the middle of the chain."""
    walker = run.sampler(
        how.get("sampler") or DRAWING[0],
        eta=how.get("eta"),
        guidance=how.get("guidance"),
        precision=how.get("precision", "auto"),
    )
    if damage == "strength":
        strength = how.get("strength") or 0.0
        return Way(steps, lambda g, label: edit(walker, y.expand(len(g), *run.shape), strength, g, steps, label))
    name, sigma = how.get("sampler") or DRAWING[0], _in_data(run, how.get("noise"))
    if name not in DRAWING and not how.get("eta"):
        raise ConfigurationError(
            f"--sampler {name} draws no noise, and would give one answer to a noisy image; use {DRAWING[0]}, "
            f"{DRAWING[1]}, or ddim with --eta 1."
        )
    return Way(steps, lambda g, label: denoise(walker, y.expand(len(g), *run.shape), sigma, g, steps, label))


def _mean(run: "DiffusionRun", y: Tensor, how: Repair, labels: Tensor | None) -> Tensor | None:
    """E[x_0|y] in levels for a noisy image, of the first label; None where only draws tell it."""
    noise = how.get("noise")
    if noise is None:
        return None
    reverse = run.sampler(guidance=how.get("guidance"), precision="fp32").reverse
    x_0 = posterior_mean(reverse, y, _in_data(run, noise), None if labels is None else labels[:1])[0]
    return (x_0.double().cpu() + 1) * ((run.levels - 1) / 2)


def _sampler(run: "DiffusionRun", how: Repair, steps: int) -> Sampler:
    """From noise in so many steps; where the network puts out a variance, with that."""
    name = known(how.get("sampler") or DRAWING[0], SAMPLERS, "sampler")
    variance = "trained" if build_variance(run.recipe).learned else VARIANCE
    return run.sampler(
        name,
        steps=steps,
        spacing=SPACING,
        variance=variance if SAMPLERS[name].uses_variance else None,
        eta=how.get("eta"),
        guidance=how.get("guidance"),
        precision=how.get("precision", "auto"),
    )


def _in_data(run: "DiffusionRun", noise: float | None) -> float:
    """Noise in units of data, from levels.

    Raises:
        ConfigurationError: not a positive number, or more noise than x_T has.
    """
    if noise is None or not (noise > 0 and math.isfinite(noise)):
        raise ConfigurationError(f"--noise is a standard deviation in grey levels, above 0, got {noise}.")
    level = 2 / (run.levels - 1)
    most = float(run.schedule.sigma[-1]) / level
    if noise > most:
        raise ConfigurationError(
            f"--noise {noise:g} is above the {most:.0f} grey levels that this model's chain knows."
        )
    return noise * level


def _missing(run: "DiffusionRun", mask: Tensor | None) -> Tensor:
    """The mask, if it is one for this model.

    Raises:
        ShapeError: of another size or kind.
        ConfigurationError: it hides nothing, or everything.
    """
    height, width = run.shape[1:]
    if mask is None or mask.dtype != torch.bool or mask.shape != (height, width):
        given = "none" if mask is None else f"{mask.dtype} {tuple(mask.shape)}"
        raise ShapeError(f"the mask must be bool ({height}, {width}), true where pixels are missing, got {given}.")
    if not bool(mask.any()):
        raise ConfigurationError("the mask is black all over: nothing is missing; what is to be filled in is white.")
    if bool(mask.all()):
        raise ConfigurationError(
            "the mask is white all over: nothing is left to go by; what is kept is black. (For images out of nothing: "
            "nelbo sample.)"
        )
    return mask


def _check_image(run: "DiffusionRun", image: Tensor, shape: tuple[int, int, int]) -> None:
    if tuple(image.shape) != shape:
        raise ShapeError(
            f"the damaged image must be {' x '.join(map(str, shape))} (channels x height x width) for the model in "
            f"{run.folder}, got {' x '.join(map(str, image.shape))}."
        )
    if image.is_floating_point() or int(image.min()) < 0 or int(image.max()) >= run.levels:
        raise ShapeError(f"the damaged image must be of integer levels 0..{run.levels - 1}.")
