"""The next batch of a training run, and the error if any process cannot read its share."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
from nelbo.errors import DataError, NelboError
from nelbo.training.accelerator import true_anywhere

if TYPE_CHECKING:
    from accelerate import Accelerator

Batch = tuple[Tensor, ConditionLike | None]  # images, and what `ImageDataset.condition` returns for them


def next_batch(accelerator: "Accelerator", batches: Iterator[Batch], step: int) -> Batch:
    """Return the next batch of this process; if any process cannot read its own, all of them raise an error.

    Args:
        step: optimizer steps done, for the message.

    Raises:
        DataError: an image cannot be read, or a data worker failed.
    """
    failure: NelboError | None = None
    try:
        batch = next(batches)
    except NelboError as error:
        failure = error
    except Exception as error:  # of a killed data worker, or of the caller's own data set
        failure = DataError(f"the images of step {step + 1} cannot be read: {error!r}.")
        failure.__cause__ = error
    if true_anywhere(accelerator, failure is not None):
        raise failure or DataError("another process cannot read its images; its own message says why.")
    return batch


def flipped(images: Tensor, labels: ConditionLike | None, chosen: Tensor) -> Batch:
    """Return a batch with the images in `chosen` (B,) mirrored left to right, and with them what lies beside them."""
    mirrored = torch.where(chosen[:, None, None, None], images.flip(-1), images)
    return mirrored, Condition.of(labels).flipped(chosen).simplest
