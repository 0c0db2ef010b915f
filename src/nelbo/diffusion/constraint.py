"""Corrections of the predicted data xhat_0 at each step of a chain."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, option


class Constraint(Protocol):
    """A correction of xhat_0 (B, ...), predicted at t (B,).

    It applies knowledge of all data, or of one image. t counts the steps of the schedule of the reverse process, which
    is the chain that the sampler runs; with churn, it counts the steps of the whole schedule.

    Examples:
        Pixels that a measurement has fixed:

        >>> import torch
        >>> from nelbo.diffusion import NoiseSchedule, ReverseProcess
        >>> class KnownPixels:
        ...     def __init__(self, values, mask):
        ...         self.values, self.mask = values, mask
        ...
        ...     def __call__(self, x_0, t):
        ...         return torch.where(self.mask, self.values, x_0)
        >>> known = KnownPixels(torch.tensor([0.5, 0.0]), torch.tensor([True, False]))
        >>> network = lambda x_t, t: torch.zeros_like(x_t)
        >>> reverse = ReverseProcess(network, NoiseSchedule.linear(), constraints=(known,))
        >>> float(reverse.predict(torch.ones(1, 1, 1, 2), torch.tensor([100])).x_0[0, 0, 0, 0])
        0.5
    """

    def __call__(self, x_0: Tensor, t: Tensor) -> Tensor:
        """Return the corrected xhat_0, in the same shape."""


@dataclass(frozen=True)
class DynamicThreshold:
    """Dynamic thresholding (Saharia et al. 2022, section 2.3): clip each image to [-s, s] and divide by s.

    s is the larger of 1 and a quantile of the image's own |xhat_0|. This keeps strong guidance from saturating pixels.

    Attributes:
        quantile: the share of pixels below the quantile, within (0, 1].
        maximum: the largest s, at least 1: `sample_max_value` in diffusers. 1 is clipping.
    """

    quantile: float = 0.995
    maximum: float = math.inf

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1:
            raise ConfigurationError(
                f"the threshold is a share of the pixels, above 0 and at most 1, got {self.quantile}; change "
                f"{option('threshold')}."
            )
        if not self.maximum >= 1:
            raise ConfigurationError(
                f"the largest threshold must be at least 1, the end of the range of the data, got {self.maximum}; "
                f"change {option('threshold_max')}."
            )

    def __call__(self, x_0: Tensor, t: Tensor) -> Tensor:
        """Return xhat_0 (B, ...) within [-1, 1]."""
        largest = torch.quantile(x_0.flatten(1).abs(), self.quantile, dim=1).clamp(1, self.maximum)
        bound = largest.view(-1, *[1] * (x_0.ndim - 1))
        return x_0.clamp(-bound, bound) / bound
