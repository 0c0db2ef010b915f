"""Restoration of a damaged image by a model: several draws, their mean and their spread."""

from dataclasses import replace

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.data import Single
from nelbo.errors import ScheduleError, option
from nelbo.probability import levels_to_data
from nelbo.progress import Progress, reported
from nelbo.randomness import RESTORATION, chosen_seed, image_generators
from nelbo.restoration import ImageDamage, Restoration, Walk, build_damage
from nelbo.runs.conditions import condition_for, require_condition
from nelbo.runs.damaged import DamagedImage, prepare_damaged
from nelbo.runs.diffusion_model import DiffusionModel
from nelbo.runs.restore_options import RestoreOptions
from nelbo.runs.sampling import pixels_of
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.samplers import SAMPLERS, Sampler

SAMPLER, SPACING = "ancestral", "karras"
VARIANCE = "fixed-small"  # where x_0 is known, betatilde is the whole variance of a step


def restore(model: DiffusionModel, image: Single, options: RestoreOptions) -> Restoration:
    """Draw what a damaged image may have been: any kind of image that `nelbo.data.as_pixels` takes.

    `prepare_damaged` first converts it and its mask to the size and channels that the model expects. Pixels that a mask
    keeps come back exactly; other measurements come back up to rounding. With `noise`, the mean is E[x_0|image] from
    one network call. Without a label, a class-conditional model restores without a class, because that of the image is
    unknown.

    Raises:
        ConfigurationError: an option that the damage, the sampler or the model does not support, or guidance without a
            label.
        ScheduleError: a number of steps outside 1..T.
        DataError: an image or a mask that cannot be used, or has another size that is not converted.
        ShapeError: levels out of range.

    Warns:
        DataWarning: the image was converted.
        SeedWarning: the seed is None, and a fresh one was drawn.
    """
    damaged = prepare_damaged(image, options, model.data)
    return draw_restoration(model, damaged, damaged.options)


@torch.no_grad()
def draw_restoration(model: DiffusionModel, damaged: DamagedImage, options: RestoreOptions) -> Restoration:
    """Draw what an image may have been that `prepare_damaged` prepared with these options; see `restore`."""
    damage = build_damage(options.damage, vars(options))
    given = condition_for(model.data, options.num, vector=options.vector, condition_image=options.condition_image)
    classes = None if options.label is None else model.classes(options.label, options.num)
    labels = replace(given, label=classes).to(model.schedule.device).simplest
    require_condition(model.recipe, labels, options.guidance)
    damage.expected_shape(model.data.shape)
    y = levels_to_data(damaged.pixels, model.data.levels).to(model.schedule.device).unsqueeze(0)
    steps = _steps(model, damage, options)
    seed = chosen_seed(options.seed)
    walk = damage.walk(_sampler(model, damage, options, steps), y, steps)
    with reported(options.progress, "restoring") as report:
        draws = _draws(model, walk, seed, options, labels, report)
    mean = _mean(model, damage, options, y, labels)
    return Restoration.of(draws, mean, levels=model.data.levels, seed=seed)


def _draws(
    model: DiffusionModel,
    walk: Walk,
    seed: int,
    options: RestoreOptions,
    labels: ConditionLike | None,
    progress: Progress,
) -> Tensor:
    """Return the draws (N, C, H, W), uint8."""
    draws, num, batch_size = list[Tensor](), options.num, options.batch_size
    batches = -(-num // batch_size)
    for batch, start in enumerate(range(0, num, batch_size)):
        size = min(batch_size, num - start)
        generators = image_generators(seed, start, size, RESTORATION)
        own = None if labels is None else labels[start : start + size]
        for done, step in enumerate(walk.start(generators, own)):
            last = step
            progress(batch * walk.steps + min(done, walk.steps), batches * walk.steps)
        progress((batch + 1) * walk.steps, batches * walk.steps)  # a walk that starts low in the chain is shorter
        draws.append(pixels_of(walk.finish(last.x_0), model.data.levels))
    return torch.cat(draws)


def _mean(
    model: DiffusionModel, damage: ImageDamage, options: RestoreOptions, y: Tensor, labels: ConditionLike | None
) -> Tensor | None:
    """Return E[x_0|y] (C, H, W) in levels, for the first condition; None if the damage computes none."""
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
