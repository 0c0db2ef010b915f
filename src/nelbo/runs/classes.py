"""The classes that a class-conditional model draws where none is given: as often as in its training images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nelbo.randomness import CLASSES, image_generators, uniform
from nelbo.runs.data_options import DataOptions

WITHOUT, IN_TURN = "none", "all"  # the labels that sample without a class, and every class in turn
Label = int | str | Tensor | Sequence[int | str]


def drawn_classes(data: DataOptions, num: int, *, seed: int, first: int) -> Tensor:
    """Draw the classes of the images first..first+num-1 of a seed: int64 (num,).

    The class of image i does not depend on `num`. A run of version 0.1.0 does not store how many training images each
    class has; its classes are equally probable.
    """
    counts = torch.tensor(data.class_counts or [1] * len(data.class_names), dtype=torch.float64)
    # one generator at a time: those of 50,000 images take hundreds of MB
    u = [uniform((1,), image_generators(seed, i, 1, CLASSES), counts) for i in range(first, first + num)]
    return torch.searchsorted(counts.cumsum(0) / counts.sum(), torch.cat(u), right=True)
