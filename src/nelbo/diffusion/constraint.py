"""What a predicted xhat_0 is held to while a chain is walked."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError


class Constraint(Protocol):
    """A correction of xhat_0 (B, ...), predicted at t (B,): something that is known of data, or of this very datum.

    t counts the steps of the schedule that is asked, which is the chain walked; under churn, the whole one.
    """

    def __call__(self, x_0: Tensor, t: Tensor) -> Tensor:
        """xhat_0 as it is held, of the same shape."""


@dataclass(frozen=True)
class DynamicThreshold:
    """Dynamic thresholding (Saharia et al. 2022, section 2.3): each image is clipped at a quantile of its own |xhat_0|.

    Where that quantile is above 1 the image is divided by it, which keeps strong guidance from saturating pixels.

    Attributes:
        quantile: the share of pixels that stay as they are, within (0, 1].
    """

    quantile: float = 0.995

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ConfigurationError(
                f"the threshold is a share of the pixels, above 0 and at most 1, got {self.quantile}."
            )

    def __call__(self, x_0: Tensor, t: Tensor) -> Tensor:
        """xhat_0 within [-1, 1]."""
        largest = torch.quantile(x_0.flatten(1).abs(), self.quantile, dim=1).clamp(min=1)
        bound = largest.view(-1, *[1] * (x_0.ndim - 1))
        return x_0.clamp(-bound, bound) / bound
