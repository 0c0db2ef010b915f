"""Image to image: diffused so far that what is wrong drowns, then walked down again (SDEdit, Meng et al. 2022)."""

from collections.abc import Iterator

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.randomness import Generators, standard_normal
from nelbo.restoration.entry import entering
from nelbo.samplers import Sampler, Step


def edit(
    sampler: Sampler,
    image: Tensor,
    strength: float,
    generator: Generators,
    steps: int | None = None,
    label: Tensor | None = None,
) -> Iterator[Step]:
    """Draws x_t ~ q(x_t|image) at t = strength T, and walks down from there.

    Args:
        sampler: over the whole schedule.
        image: (B, C, H, W) as data: a sketch, a collage, or whatever shall look like the model's images.
        strength: the share of the chain, above 0 and at most 1: the more, the freer the model.
        steps: how many to take from there; see `entering`.
        label: int64 (B,) for a conditional network.

    Raises:
        ConfigurationError: no such share.
    """
    if not 0 < strength <= 1:
        raise ConfigurationError(f"--strength is a share of the chain, above 0 and at most 1, got {strength}.")
    t = max(round(strength * sampler.reverse.schedule.num_steps), 1)
    walker, place = entering(sampler, t, steps)
    at, noise = torch.full((len(image),), t, device=image.device), standard_normal(image.shape, generator, image)
    return walker.walk(sampler.reverse.forward_process.sample(image, at, noise), place, generator, label)
