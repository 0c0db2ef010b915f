"""Randomness without hidden state: every draw is a function of a seed and of where it is used (a step, an image)."""

import secrets
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, NelboWarning, option, shown, warn

# Purposes of a draw. No two share a stream: scoring a sample must not reuse the noise that generated it.
DRAWS, DROPOUT, IMAGE, CALIBRATION, INITIALISATION, SCORING, ORDER, FORMS, MONTE_CARLO = range(9)
SHARED, INTERPOLATION, POINTS, FLOOR, BOOTSTRAP, CODEC, LIKELIHOOD, RESTORATION, DECODER, CLASSES = range(9, 19)
EXAMPLES, HELD_OUT, FINE, LATENT = range(19, 23)

DRAWN_SEEDS = 10**9  # a fresh seed is below: nine digits can be typed, and two users rarely draw the same

Generators = torch.Generator | Sequence[torch.Generator] | None


class SeedWarning(NelboWarning):
    """A seed was drawn, because it was given as None; the message states it."""


def check_seed(seed: object) -> None:
    """Check that a seed is a whole number.

    Raises:
        ConfigurationError: it is something else, such as "12", 1.5 or True.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise ConfigurationError(f"{option('seed')} must be a whole number, got {shown(seed)}.")


def chosen_seed(seed: int | None) -> int:
    """Return a seed as it is, or draw a fresh one for None and report it, so that the result can be repeated.

    Raises:
        ConfigurationError: the seed is something else than a whole number or None.

    Warns:
        SeedWarning: a seed was drawn; the message states it.
    """
    if seed is None:
        seed = secrets.randbelow(DRAWN_SEEDS)
        warn(f"drew a fresh seed; {option('seed', seed)} repeats this result.", SeedWarning)
    check_seed(seed)
    return int(seed)


def plain_generator(seed: int) -> torch.Generator:
    """Make a generator from a seed as it is, for draws that have no purpose; it counts modulo 2^64 as everywhere.

    Raises:
        ConfigurationError: the seed is no whole number.
    """
    check_seed(seed)
    return torch.Generator().manual_seed(int(seed) % 2**64)


def derived_seed(seed: int, purpose: int, *place: int) -> int:
    """Derive a 63-bit seed for one purpose and place from a seed, mixed by NumPy's `SeedSequence`.

    >>> derived_seed(0, DRAWS, 0)
    8795328300061315701

    Args:
        seed: any integer; it counts modulo 2^64.
        purpose: one of the constants of this module, such as `DRAWS`.
        place: numbers that tell draws of one purpose apart, such as a step or the index of an image.

    Raises:
        ConfigurationError: the seed is no whole number.
    """
    check_seed(seed)
    numbers = (int(seed) % 2**64, purpose, len(place), *place)
    words = [
        word for number in numbers for word in divmod(number, 2**32)
    ]  # 64 bits per number, so that no two places give the same words
    mixed = np.random.SeedSequence(words).generate_state(1, np.uint64)
    return int(mixed[0] >> np.uint64(1))


def step_generator(seed: int, step: int) -> torch.Generator:
    """Make the generator of all draws for the global batch of one training step."""
    return torch.Generator().manual_seed(derived_seed(seed, DRAWS, step))


def image_generators(seed: int, first: int, num: int, purpose: int = IMAGE) -> list[torch.Generator]:
    """Make a generator for each of the images first..first+num-1, so that no image depends on its batch."""
    return [torch.Generator().manual_seed(derived_seed(seed, purpose, i)) for i in range(first, first + num)]


def standard_normal(shape: Sequence[int], generator: Generators, like: Tensor) -> Tensor:
    """Draw z ~ N(0, I) of `shape`, on the device and in the dtype of `like`.

    Args:
        generator: draws on its own device; a sequence has one for each example (first dimension). None uses torch's
            global state on the device of `like`.
    """
    if isinstance(generator, Sequence):
        draws = [torch.randn(tuple(shape[1:]), generator=g, dtype=like.dtype, device=g.device) for g in generator]
        return torch.stack(draws).to(like.device)
    device = like.device if generator is None else generator.device
    return torch.randn(tuple(shape), generator=generator, dtype=like.dtype, device=device).to(like.device)


def uniform(shape: Sequence[int], generator: Generators, like: Tensor) -> Tensor:
    """Draw numbers uniform in [0, 1) of `shape`, on the device and in the dtype of `like`; see `standard_normal`."""
    if isinstance(generator, Sequence):
        draws = [torch.rand(tuple(shape[1:]), generator=g, dtype=like.dtype, device=g.device) for g in generator]
        return torch.stack(draws).to(like.device)
    device = like.device if generator is None else generator.device
    return torch.rand(tuple(shape), generator=generator, dtype=like.dtype, device=device).to(like.device)
