"""Image to image: diffuse an image part of the way, then walk down again (SDEdit, Meng et al. 2022)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.errors import ConfigurationError, option
from nelbo.randomness import Generators, standard_normal
from nelbo.restoration.entry import entering
from nelbo.samplers import Sampler, Step


def edit(
    sampler: Sampler,
    image: Tensor,
    strength: float,
    generator: Generators,
    steps: int | None = None,
    label: ConditionLike | None = None,
) -> Iterator[Step]:
    """Draw x_t ~ q(x_t|image) at t = strength T, and walk down from there; yields every step.

    Args:
        sampler: a sampler over the whole schedule.
        image: (B, C, H, W) as data: a sketch, a collage, or any image that should resemble the model's images.
        strength: share of the chain, above 0 and at most 1. A larger share lets the model change more.
        steps: number of steps from there; see `entering`.
        label: int64 (B,) class numbers or a `nelbo.condition.Condition`, for a conditional network.

    Raises:
        ConfigurationError: a strength out of range.
    """
    if not 0 < strength <= 1:
        raise ConfigurationError(
            f"{option('strength')} is a share of the chain: it must be above 0 and at most 1, got {strength}."
        )
    t = max(round(strength * sampler.reverse.schedule.num_steps), 1)
    walker, place = entering(sampler, t, steps)
    at, noise = torch.full((len(image),), t, device=image.device), standard_normal(image.shape, generator, image)
    return walker.walk(sampler.reverse.forward_process.sample(image, at, noise), place, generator, label)
