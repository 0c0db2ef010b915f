"""Restoration of a damaged image by a model: several draws, their mean and their spread."""

from dataclasses import replace

import torch
from torch import Tensor

from nelbo.data import Single, as_mask, as_pixels
from nelbo.errors import ScheduleError, ShapeError, option
from nelbo.probability import levels_to_data
from nelbo.randomness import RESTORATION, image_generators
from nelbo.restoration import ImageDamage, Restoration, Walk, build_damage
from nelbo.runs.diffusion_model import DiffusionModel
from nelbo.runs.restore_options import RestoreOptions
from nelbo.runs.sampling import pixels_of
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.samplers import SAMPLERS, Sampler

SAMPLER, SPACING = "ancestral", "karras"
VARIANCE = "fixed-small"  # where x_0 is known, betatilde is the whole variance of a step


@torch.no_grad()
def restore(model: DiffusionModel, image: Single, options: RestoreOptions) -> Restoration:
    """Draw what a damaged image may have been: any kind of image that `nelbo.data.as_pixels` takes.

    The image has the size and channels of the model's images, except that it is smaller for `upscale` and has one
    channel for `colour`. Pixels that a mask keeps come back exactly; other measurements come back up to rounding. With
    `noise`, the mean is E[x_0|image] from one network call. Without a label, a class-conditional model restores without
    a class, because that of the image is unknown.

    Raises:
        ConfigurationError: an option that the damage, the sampler or the model does not support, or guidance without a
            label.
        ScheduleError: a number of steps outside 1..T.
        ShapeError: an image or a mask of another shape, or levels out of range.
    """
    if options.mask is not None:
        options = replace(options, mask=as_mask(options.mask))
    damage = build_damage(options.damage, vars(options))
    labels = None if options.label is None else model.classes(options.label, options.num)
    model.require_class(labels, options.guidance)
    expected = damage.expected_shape(model.data.shape)
    pixels = as_pixels(image, expected, model.data.range)
    _check_image(model, pixels, expected)
    y = levels_to_data(pixels, model.data.levels).to(model.schedule.device).unsqueeze(0)
    steps = _steps(model, damage, options)
    walk = damage.walk(_sampler(model, damage, options, steps), y, steps)
    draws = _draws(model, walk, options, labels)
    return Restoration.of(draws, _mean(model, damage, options, y, labels))


def _draws(model: DiffusionModel, walk: Walk, options: RestoreOptions, labels: Tensor | None) -> Tensor:
    """Return the draws (N, C, H, W), uint8."""
    draws, num, batch_size, progress = list[Tensor](), options.num, options.batch_size, options.progress
    batches = -(-num // batch_size)
    for batch, start in enumerate(range(0, num, batch_size)):
        size = min(batch_size, num - start)
        generators = image_generators(options.seed, start, size, RESTORATION)
        own = None if labels is None else labels[start : start + size]
        for done, step in enumerate(walk.start(generators, own)):
            last = step
            if progress is not None:
                progress(batch * walk.steps + min(done, walk.steps), batches * walk.steps)
        if progress is not None:  # a walk that starts low in the chain yields fewer steps
            progress((batch + 1) * walk.steps, batches * walk.steps)
        draws.append(pixels_of(walk.finish(last.x_0), model.data.levels))
    return torch.cat(draws)


def _mean(
    model: DiffusionModel, damage: ImageDamage, options: RestoreOptions, y: Tensor, labels: Tensor | None
) -> Tensor | None:
    """Return E[x_0|y] (C, H, W) in levels, for the first label; None if the damage computes none."""
    whole_chain = SamplingOptions(sampler=SAMPLER, guidance=options.guidance, precision="fp32")
    reverse = model.sampler(whole_chain).reverse
    x_0 = damage.mean(reverse, y, None if labels is None else labels[:1])
    return None if x_0 is None else (x_0[0].double().cpu() + 1) * ((model.data.levels - 1) / 2)


def _steps(model: DiffusionModel, damage: ImageDamage, options: RestoreOptions) -> int:
    total = model.schedule.num_steps
    steps = min(damage.default_steps, total) if options.steps is None else options.steps
    if not 1 <= steps <= total:
        raise ScheduleError(f"{option('steps')} must be within 1..{total}, got {steps}.")
    return steps


def _sampler(model: DiffusionModel, damage: ImageDamage, options: RestoreOptions, steps: int) -> Sampler:
    """Return a sampler over the whole chain if the damage starts midway, else over `steps` steps from x_T."""
    name = options.sampler or SAMPLER
    variance = None
    if not damage.starts_midway and SAMPLERS[name].uses_variance:
        variance = "trained" if model.variance().learned else VARIANCE
    return model.sampler(
        SamplingOptions(
            sampler=name,
            steps=model.schedule.num_steps if damage.starts_midway else steps,
            spacing=SPACING,
            variance=variance,
            eta=options.eta,
            guidance=options.guidance,
            precision=options.precision,
        )
    )


def _check_image(model: DiffusionModel, image: Tensor, shape: tuple[int, int, int]) -> None:
    if tuple(image.shape) != shape:
        raise ShapeError(
            f"the damaged image must be {' x '.join(map(str, shape))} (channels x height x width) for the model "
            f"{model.name}, got {' x '.join(map(str, image.shape))}."
        )
    levels = model.data.levels
    if image.is_floating_point() or int(image.min()) < 0 or int(image.max()) >= levels:
        raise ShapeError(
            f"the damaged image must have integer levels 0..{levels - 1}, got {image.dtype} values from "
            f"{image.min():g} to {image.max():g}."
        )
