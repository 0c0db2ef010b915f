"""Randomness without hidden state: every draw is a function of a seed and a place (a step, an image)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

# What a seed is asked for. No two purposes share a stream: a model's samples must not meet their own noise when scored.
DRAWS, DROPOUT, IMAGE, CALIBRATION, INITIALISATION, SCORING, ORDER, FORMS, MONTE_CARLO = range(9)
SHARED, INTERPOLATION, POINTS, FLOOR, BOOTSTRAP, CODEC, LIKELIHOOD, RESTORATION = range(9, 17)

Generators = torch.Generator | Sequence[torch.Generator] | None


def derived_seed(seed: int, purpose: int, *place: int) -> int:
    """A 63-bit seed for a place (a step, an image, ...) in what a purpose draws, mixed by NumPy's SeedSequence."""
    numbers = (seed % 2**64, purpose, len(place), *place)
    words = [word for number in numbers for word in divmod(number, 2**32)]  # of one width, so that no two places agree
    mixed = np.random.SeedSequence(words).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(1))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The generator of everything that is drawn for the whole global batch of a training step."""
    return torch.Generator().manual_seed(derived_seed(seed, DRAWS, step))


def image_generators(seed: int, first: int, num: int, purpose: int = IMAGE) -> list[torch.Generator]:
    """One generator for each of the images first..first+num-1, so that no image depends on the batch it is in."""
    return [torch.Generator().manual_seed(derived_seed(seed, purpose, i)) for i in range(first, first + num)]


def standard_normal(shape: Sequence[int], generator: Generators, like: Tensor) -> Tensor:
    """z ~ N(0, I) of `shape` on the device and in the dtype of `like`, drawn on the generator's own device.

    With a list of generators each example (first dimension) is drawn from its own.
    """
    if isinstance(generator, Sequence):
        draws = [torch.randn(tuple(shape[1:]), generator=g, dtype=like.dtype, device=g.device) for g in generator]
        return torch.stack(draws).to(like.device)
    device = like.device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=device).to(like.device)
