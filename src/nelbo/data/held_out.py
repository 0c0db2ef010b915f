"""The images that are held out from training, to measure on."""

from numbers import Real

import torch

from nelbo.data.datasets import ImageDataset, Split
from nelbo.display import counted
from nelbo.errors import DataError, option, shown
from nelbo.randomness import plain_generator

FRACTION, MOST = 0.05, 10_000


def split_off(dataset: ImageDataset, held_out: float | None, seed: int) -> Split:
    """Hold out a part of `dataset`, chosen by a permutation seeded with `seed`. Both parts keep the order of the set.

    A set of one image keeps it for training, and its held-out part is empty.

    Args:
        held_out: a fraction below 1, a number of images, or None for 5% (at least 1 image, at most 10,000).

    Raises:
        DataError: nothing is left to train on, or `held_out` is invalid.
    """
    number, total = held_out_count(held_out, len(dataset)), len(dataset)
    if number >= total:
        raise DataError(
            f"{option('held_out')} is {held_out}: {number:,} of the {counted(total, 'image')} of {dataset.name}, "
            f"which leaves none to train on; give at most {total - 1}."
        )
    order = torch.randperm(total, generator=plain_generator(seed))
    return Split(dataset.subset(order[number:].sort().values), dataset.subset(order[:number].sort().values))


def check_held_out(held_out: object) -> None:
    """Check that `held_out` is a fraction below 1, a number of images, or None.

    Raises:
        DataError: it is something else, such as "0.1", 1.5 or infinity.
    """
    if held_out is None:
        return
    number = float(held_out) if not isinstance(held_out, bool) and isinstance(held_out, Real) else -1.0
    if 0 <= number < 1 or (number >= 1 and number.is_integer()):
        return
    raise DataError(
        f"{option('held_out')} is {shown(held_out)}; expected a fraction below 1 (such as 0.05) or a number of images."
    )


def held_out_count(held_out: float | None, total: int) -> int:
    """Return how many of `total` images to hold out (see `split_off`)."""
    check_held_out(held_out)
    if held_out is None:
        return min(max(round(FRACTION * total), 1), MOST, total - 1)
    if 0 < held_out < 1:
        return min(max(round(held_out * total), 1), max(total - 1, 1))
    return int(held_out)
