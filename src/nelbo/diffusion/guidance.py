"""Classifier-free guidance: a stronger pull towards a condition than the conditional network alone gives."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
from nelbo.errors import ConfigurationError, option

MOST_SCALE = 1e6  # a larger scale leaves no significant digits in float32


@dataclass(frozen=True)
class Guidance:
    """eps = eps(x_t) + scale (eps(x_t, label) - eps(x_t)) (Ho & Salimans 2022, eq. 6, with w = scale - 1).

    label is a class or any other condition, of which eps(x_t) withholds every part but the mask of observed pixels. For
    every parameterization, the network's output at a given x_t is an affine function of the noise, so the outputs
    themselves are combined. A learned variance is taken from the call with the label.

    Attributes:
        scale: 0 ignores the condition, 1 is the conditional network itself, larger values exaggerate the condition.
        first, last: the interval of the network's own times, both ends included, in which `scale` applies; outside it
            the scale is 1 (Kynkaanniemi et al. 2024).
    """

    scale: float
    first: float = 0
    last: float = math.inf

    def __post_init__(self) -> None:
        if not abs(self.scale) <= MOST_SCALE:
            raise ConfigurationError(
                f"{option('guidance')} must be within -{MOST_SCALE:g}..{MOST_SCALE:g}, got {self.scale}."
            )
        if not self.first <= self.last:
            raise ConfigurationError(
                f"the guidance interval must rise, got {self.first:g} to {self.last:g}; change "
                f"{option('guidance_interval')}."
            )

    def __call__(self, network: Callable[..., Tensor], x_t: Tensor, time: Tensor, label: ConditionLike) -> Tensor:
        """Return the network's output for x_t (B, C, ...) at its own time (B,), guided to the condition.

        The network is called once: with twice the batch if the time of any example lies in the interval and the scale
        is not 1.
        """
        inside = (time >= self.first) & (time <= self.last)
        given = Condition.of(label)
        if self.scale == 1 or not bool(inside.any()):
            return network(x_t, time, given.simplest)
        beside = given.beside(given.withheld()).simplest
        both = network(torch.cat([x_t, x_t]), torch.cat([time, time]), beside)
        conditional, unconditional = both.chunk(2)
        scale = torch.where(inside, x_t.new_tensor(self.scale), x_t.new_ones(())).view(-1, *[1] * (x_t.ndim - 1))
        mean, plain = conditional[:, : x_t.shape[1]], unconditional[:, : x_t.shape[1]]
        return torch.cat([plain + scale * (mean - plain), conditional[:, x_t.shape[1] :]], dim=1)
