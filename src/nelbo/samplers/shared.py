"""Samples that share a latent: many draws of p_theta(x_0|x_t) for the same x_t (Ho et al., fig. 7)."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.display import Brief
from nelbo.randomness import SHARED, image_generators
from nelbo.samplers.sampler import Sampler, end_of


@dataclass(frozen=True)
class SharedLatent(Brief):
    """Draws that share an x_t.

    Attributes:
        t: the time of x_t in the network's own numbering.
        x_t: (1, C, H, W) the shared latent.
        x_0: (1, C, H, W) the xhat_0 that the network predicts from it.
        samples: (N, C, H, W) draws of p_theta(x_0|x_t).
    """

    t: int
    x_t: Tensor
    x_0: Tensor
    samples: Tensor


def shared_latents(
    sampler: Sampler,
    shape: Sequence[int],
    steps: Container[int],
    num: int,
    seed: int,
    label: ConditionLike | None = None,
) -> Iterator[SharedLatent]:
    """Sample one image of `shape` (C, H, W), and at each of `steps` draw `num` images from the x_t of that walk.

    Draw i has its own generator, which is seeded again at each of `steps`. It depends neither on `num` nor on the other
    steps.

    Args:
        steps: steps of the sampler's schedule, each within 1..T.
        label: int64 (1,) class number or a condition of one example, for a conditional network.
    """
    schedule = sampler.reverse.schedule
    for step in sampler.trajectory((1, *shape), image_generators(seed, 0, 1), label):
        if step.t in steps:
            latents = step.x_t.expand(num, *shape)
            labels = None if label is None else label.expand(num)
            samples = end_of(sampler.walk(latents, step.t, image_generators(seed, 0, num, SHARED), labels))
            yield SharedLatent(int(schedule.timesteps[step.t]), step.x_t, step.x_0, samples)
