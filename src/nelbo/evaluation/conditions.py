"""The condition of a network for the images of a set while it is evaluated."""

from dataclasses import replace

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
from nelbo.data import ImageDataset


def condition_of(
    images: ImageDataset, chosen: Tensor, labels: Tensor | None, device: torch.device
) -> ConditionLike | None:
    """Return the condition of the images `chosen` (B,) of a set on a device, with classes from `labels` alone.

    Args:
        labels: (N,) class of each image of the set, negative for none; None for a bound without classes.
    """
    own = Condition.of(images.condition(chosen))
    given = replace(own, label=None if labels is None else labels[chosen]).to(device)
    return given.simplest
