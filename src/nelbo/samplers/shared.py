"""What a latent settles: many draws of p_theta(x_0|x_t) for one x_t (Ho et al., fig. 7)."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from nelbo.randomness import SHARED, image_generators
from nelbo.samplers.sampler import Sampler, end_of


@dataclass(frozen=True)
class SharedLatent:
    """Draws that share an x_t.

    Attributes:
        t: the network's own time.
        x_t: (1, C, H, W).
        x_0: (1, C, H, W) the xhat_0 that the network sees in it.
        samples: (N, C, H, W) draws of p_theta(x_0|x_t).
    """

    t: int
    x_t: Tensor
    x_0: Tensor
    samples: Tensor


def shared_latents(
    sampler: Sampler, shape: Sequence[int], steps: Container[int], num: int, seed: int, label: Tensor | None = None
) -> Iterator[SharedLatent]:
    """One walk from noise to an image of `shape` (C, H, W), left at each of `steps` for `num` ways of going on.

    Draw i has a stream of noise of its own, which begins anew at each of `steps`: it depends neither on `num` nor on
    what other steps are asked for.

    Args:
        steps: of the sampler's schedule, within 1..T.
        label: int64 (1,), for a conditional network.
    """
    schedule = sampler.reverse.schedule
    for step in sampler.trajectory((1, *shape), image_generators(seed, 0, 1), label):
        if step.t in steps:
            latents = step.x_t.expand(num, *shape)
            labels = None if label is None else label.expand(num)
            samples = end_of(sampler.walk(latents, step.t, image_generators(seed, 0, num, SHARED), labels))
            yield SharedLatent(int(schedule.timesteps[step.t]), step.x_t, step.x_0, samples)
