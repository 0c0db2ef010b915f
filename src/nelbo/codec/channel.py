"""Channel simulation: send a sample of q using p in about KL(q || p) bits (Algorithm 3's "send x ~ q using p").

This is the Poisson functional representation (Li & El Gamal 2018), cut off after a fixed number of candidates. Ordered
random coding (Theis & Yosri 2022) differs in its arrival times and has the same bias at this number. Sender and
receiver know the same candidates, drawn from p. The sender draws an arrival time of a Poisson process for each, chooses
the candidate with the smallest arrival time divided by its weight q/p, and sends its index.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.codec.candidates import UNIT, candidates
from nelbo.probability import DiagonalGaussian, kl_divergence

ROWS = 1 << 14  # candidates in memory at once, at most
MOST_SCORES = 1 << 26  # candidates times examples in memory at once; a large image has many tiles


@dataclass(frozen=True)
class Target:
    """The distribution q of one step in units of p: x = mean_p + stddev_p z, and q(z) = N(shift, ratio^2).

    Attributes:
        shift: (B, D) (mean_q - mean_p) / stddev_p, float32, on the CPU.
        ratio: stddev_q / stddev_p, at most 1: one for all dimensions, or (B, D) float32.
    """

    shift: Tensor
    ratio: float | Tensor

    @classmethod
    def between(cls, q: DiagonalGaussian, p: DiagonalGaussian) -> "Target":
        """Return q in units of p. Both have one variance for all dimensions."""
        shift = ((q.mean - p.mean) / p.variance.sqrt()).flatten(1).cpu().float()
        ratio = (q.variance.flatten()[0].double() / p.variance.flatten()[0].double()).sqrt()
        return cls(shift, float(ratio))

    def of(self, examples: list[int] | slice, dims: slice | Tensor) -> "Target":
        """Return the target of some examples and dimensions."""
        ratio = self.ratio[examples][:, dims].contiguous() if isinstance(self.ratio, Tensor) else self.ratio
        return Target(self.shift[examples][:, dims].contiguous(), ratio)

    def kl(self) -> Tensor:
        """Return KL(q || p) of each dimension, (B, D) float64 in nats."""
        shift = self.shift.double()
        q = DiagonalGaussian(shift, torch.as_tensor(self.ratio**2, dtype=shift.dtype))
        return kl_divergence(q, DiagonalGaussian(shift.new_zeros(()), shift.new_ones(())))


def arrivals(seed: int, step: int, chunk: int, num: int) -> NDArray[np.float64]:
    """Return arrival times (num,) of a Poisson process of rate 1. Only the sender needs them."""
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step << 32 | chunk], dtype=np.uint64)))
    return generator.standard_exponential(num).cumsum()


def choose(
    targets: Sequence[Target], step: int, chunk: int, log2_candidates: int, seed: int
) -> list[tuple[Tensor, Tensor]]:
    """Choose a candidate for each example of each target: indices (B,) int64, and their z (B, D) float32.

    One pass over the candidates serves all targets: the log-weights are a matrix product, and a target of fewer
    dimensions uses the first dimensions of the same candidates.

    Args:
        targets: each for a batch of examples; D may differ between targets.
        step: with `chunk` the place in the message, which determines the candidates.
        chunk: its number in the step.
        log2_candidates: log2 of their number.
        seed: of the arrival times.
    """
    num, dims = 1 << log2_candidates, max(target.shift.shape[1] for target in targets)
    times = torch.from_numpy(np.log(arrivals(seed, step, chunk, num))).float()
    best = [_Best(*target.shift.shape) for target in targets]
    examples = max(target.shift.shape[0] for target in targets)
    at_once = min(ROWS, max(MOST_SCORES // examples, 1))
    for first in range(0, num, at_once):
        rows = min(at_once, num - first)
        z = torch.from_numpy(candidates(step, chunk, first, rows, dims)).float().mul_(UNIT)
        widths = {target.shift.shape[1] for target in targets}
        squares = {width: torch.linalg.vecdot(z[:, :width], z[:, :width])[:, None] for width in widths}
        for target, found in zip(targets, best, strict=True):
            own = z[:, : target.shift.shape[1]]
            found.consider(_scores(times[first : first + rows, None], own, squares[own.shape[1]], target), own, first)
    return [(found.index, found.z) for found in best]


def _scores(times: Tensor, z: Tensor, squares: Tensor, target: Target) -> Tensor:
    """Return log arrival times minus log q(z) / p(z), without the terms that every candidate shares, (rows, B).

    Args:
        times: (rows, 1) log arrival times.
        z: (rows, D) candidates.
        squares: (rows, 1) the sums of their squares.
    """
    precision = target.ratio**-2
    if isinstance(precision, Tensor):
        scores = torch.addmm(times, z, (precision * target.shift).T, alpha=-1)
        return scores.addmm_(z.square(), (precision - 1).T, alpha=1 / 2)
    return torch.addmm(times, z, target.shift.T, alpha=-precision).add_(squares, alpha=(precision - 1) / 2)


class _Best:
    """The candidate with the smallest score so far, for each example."""

    def __init__(self, batch: int, dims: int) -> None:
        self.score = torch.full((batch,), math.inf)
        self.index = torch.zeros(batch, dtype=torch.int64)
        self.z = torch.zeros(batch, dims)

    def consider(self, scores: Tensor, z: Tensor, first: int) -> None:
        """Compare with the scores (rows, B) of candidates z (rows, D), whose indices start at `first`."""
        score, row = scores.min(0)
        better = score < self.score
        self.score = torch.where(better, score, self.score)
        self.index = torch.where(better, row + first, self.index)
        self.z = torch.where(better[:, None], z[row], self.z)


def regenerate(step: int, chunk: int, index: int, dims: int) -> Tensor:
    """Return z (D,) of one candidate."""
    return torch.from_numpy(candidates(step, chunk, index, 1, dims)[0]).float() * UNIT
