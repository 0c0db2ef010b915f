"""Interpolation between two images in the latent x_t, decoded by the reverse process (Ho et al., fig. 8)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.display import Brief
from nelbo.randomness import INTERPOLATION, derived_seed, standard_normal
from nelbo.samplers.sampler import Sampler, end_of


@dataclass(frozen=True)
class Interpolation(Brief):
    """The decoded images between two images, for one t.

    Attributes:
        t: the time of x_t in the network's own numbering; 0 interpolates the pixels themselves.
        x_0: (L, C, H, W) one image for each weight.
    """

    t: int
    x_0: Tensor


def interpolations(
    sampler: Sampler, pair: Tensor, weights: Tensor, steps: Sequence[int], seed: int
) -> Iterator[Interpolation]:
    """For each step t, decode (1 - w) x_t + w x'_t for every weight w.

    Both images are diffused with the same noise. The interpolated latents therefore have the variance of an x_t. Every
    walk down draws the same noise, so that along the weights only w changes.

    Args:
        pair: the two images as data (2, C, H, W).
        weights: (L,) within 0..1.
        steps: steps of the sampler's schedule, each within 0..T.
    """
    schedule, forward = sampler.reverse.schedule, sampler.reverse.forward_process
    noise = standard_normal(pair[:1].shape, _generator(seed, 0), pair).expand_as(pair)
    w = weights.to(pair).view(-1, 1, 1, 1)
    for step in steps:
        x_t = pair if step == 0 else forward.sample(pair, torch.full((2,), step, device=pair.device), noise)
        between = (1 - w) * x_t[0] + w * x_t[1]
        walk = sampler.walk(between, step, [_generator(seed, 1) for _ in weights])
        yield Interpolation(int(schedule.timesteps[step]), end_of(walk))


def _generator(seed: int, place: int) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, INTERPOLATION, place))
