"""Mixtures of logistic distributions over the K levels of a pixel: in integers for coding, in floats for training."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.codec.frozen import (
    EXP_REACH,
    EXP_STEPS,
    LEVEL_PARTS,
    LOGISTIC_REACH,
    LOGISTIC_STEPS,
    LOGISTIC_UNIT,
    SCALES,
    exponentials,
    inverse_scales,
    logistic_cdf,
)
from nelbo.codec.lattice import HALVES
from nelbo.codec.pixels import IntegerNetwork, features
from nelbo.codec.range_coder import TOTAL


@dataclass(frozen=True, eq=False)
class LogisticMixture:
    """A mixture over the K levels for each of n pixels, in integers (n, components).

    Attributes:
        weight: in units of the table of exp.
        mean: in sixteenths of a level.
        scale: index into the table of scales.
        levels: K.
    """

    weight: NDArray[np.int64]
    mean: NDArray[np.int64]
    scale: NDArray[np.int64]
    levels: int

    @classmethod
    def read(cls, output: NDArray[np.int64], center: NDArray[np.int64], levels: int) -> "LogisticMixture":
        """Build mixtures from the network's output (n, 3, components) and the rounded xhat_0 (n,) in half levels.

        Logits, shifts and log-scales are in units of 1/256. A shift of 1 is 4 levels, and a log-scale of 1 an octave.
        """
        logit, shift, scale = output[:, 0], output[:, 1], output[:, 2]
        behind = np.minimum((logit.max(1, keepdims=True) - logit) * EXP_STEPS // 256, EXP_REACH * EXP_STEPS)
        mean = (LEVEL_PARTS // HALVES) * center[:, None] + (shift >> 2)
        index = np.clip((scale * 8 + 128 >> 8) + SCALES // 2, 0, SCALES - 1)
        return cls(exponentials()[behind], mean, index, levels)

    def cumulative(self, level: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the cumulative table at levels (n, m) in 0..K: 0 at 0, 2^16 at K, rising by at least 1 a level."""
        edge = LEVEL_PARTS * level[:, :, None] - LEVEL_PARTS // 2
        middle = LOGISTIC_REACH * LOGISTIC_STEPS
        step = ((edge - self.mean[:, None]) * inverse_scales()[self.scale][:, None] >> 16) + middle
        mass = logistic_cdf()[np.clip(step, 0, 2 * middle)]
        free = TOTAL - self.levels
        below = (mass * self.weight[:, None]).sum(2) * free // (LOGISTIC_UNIT * self.weight.sum(1)[:, None]) + level
        return np.where(level == 0, 0, np.where(level == self.levels, TOTAL, below))

    def tables(self) -> NDArray[np.int64]:
        """Return the cumulative table (n, K + 1) of every pixel."""
        return self.cumulative(np.broadcast_to(np.arange(self.levels + 1), (len(self.mean), self.levels + 1)))

    def expected(self) -> NDArray[np.float64]:
        """Return the mean level (n,), for previews and not for coding."""
        masses = np.diff(self.tables(), axis=1)
        return masses @ np.arange(self.levels) / TOTAL


def mixture_of(
    network: IntegerNetwork, center: Tensor, x: Tensor, known: Tensor, wanted: Tensor
) -> tuple[LogisticMixture, Tensor]:
    """Return the mixtures of the wanted pixels, and a (B, C, H, W) bool mask of these pixels.

    Args:
        center, x: (B, C, H, W) int64, the rounded xhat_0 in half levels, and levels; x is ignored where unknown.
        known, wanted: (C, H, W) or (B, C, H, W) bool.
    """
    levels = network.options.levels
    output = network(features(center, x, known, levels))  # B, C, 3, components, H, W
    chosen = wanted.expand_as(center)
    rows = torch.from_numpy(output).permute(0, 1, 4, 5, 2, 3)[chosen].numpy()
    return LogisticMixture.read(rows, center[chosen].numpy(), levels), chosen


def log2_masses(output: Tensor, center: Tensor, x: Tensor, levels: int) -> Tensor:
    """Return log2 of the mass that mixtures (B, C, 3, components, H, W) give to levels x (B, C, H, W), for training."""
    logit, shift, scale = output.unbind(2)
    mean = center[:, :, None] / HALVES + 4 * shift
    inverse = torch.exp2(-(scale.clamp(-SCALES / 16, (SCALES - 1) / 8 - SCALES / 16) + SCALES / 16 - 5))
    lower, upper = ((x[:, :, None] + d - mean) * inverse for d in (-0.5, 0.5))
    below = torch.where(x[:, :, None] == 0, 0, torch.sigmoid(lower))
    mass = torch.where(x[:, :, None] == levels - 1, 1 - below, torch.sigmoid(upper) - below)
    mixed = (logit.softmax(2) * mass).sum(2)
    share = 1 - levels / TOTAL
    return torch.log2((share * mixed).clamp(min=0) + 1 / TOTAL)
