"""Which images are kept from training, to measure on."""

import torch

from nelbo.data.datasets import ImageDataset, Split
from nelbo.errors import DataError

FRACTION, MOST = 0.05, 10_000


def split_off(dataset: ImageDataset, held_out: float | None, seed: int) -> Split:
    """Hold out a part of `dataset` chosen by a permutation seeded with `seed`; both parts keep the set's order.

    Args:
        held_out: a fraction below 1, a number of images, or None for 5% (at least 1 image, at most 10,000).

    A set of one image keeps it for training: its held-out part is empty unless more was asked for, which is a
    `DataError`.
    """
    number, total = held_out_count(held_out, len(dataset)), len(dataset)
    if number >= total:
        raise DataError(
            f"--held-out {held_out} asks for {number} of the {total} image(s) of {dataset.name} and leaves none to "
            "train on; "
            f"give at most {total - 1}"
        )
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    return Split(dataset.subset(order[number:].sort().values), dataset.subset(order[:number].sort().values))


def held_out_count(held_out: float | None, total: int) -> int:
    """How many of `total` images `held_out` means."""
    if held_out is None:
        return min(max(round(FRACTION * total), 1), MOST, total - 1)
    if not held_out >= 0 or (held_out >= 1 and held_out != int(held_out)):
        raise DataError(f"--held-out is {held_out}; expected a fraction below 1 (such as 0.05) or a number of images")
    if 0 < held_out < 1:
        return min(max(round(held_out * total), 1), max(total - 1, 1))
    return int(held_out)
