"""p(digits | coarse levels) of images of more than 256 levels, digit by digit and pass by pass, in integers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.condition import hidden
from nelbo.diffusion.passes import Pass, passes, walk
from nelbo.display import Brief
from nelbo.networks.digit_network import ExactDigitNetwork
from nelbo.networks.integers import UNIT, exact_float32, require_exact
from nelbo.probability.integer_gaussian import MASS, MASS_BITS
from nelbo.probability.integer_tables import EXP_REACH, EXP_STEPS, exponentials
from nelbo.randomness import Generators, uniform
from nelbo.refinement.context import SIDE, numbers
from nelbo.refinement.split import LevelSplit

CHUNK = 16  # images whose contexts are in memory at once


@dataclass(frozen=True, eq=False)
class DigitTables(Brief):
    """The distributions of one digit of n pixels.

    Attributes:
        cumulative: (n, base + 1) int64: 0, the mass below each value in units of 2^-24, and 2^24. Each value has at
            least 1.
    """

    cumulative: NDArray[np.int64]

    @classmethod
    def of(cls, logits: NDArray[np.int64], possible: NDArray[np.int64]) -> "DigitTables":
        """Build the tables of logits (n, base) in units of 1/64 nat; values from `possible` (n,) on are impossible.

        An impossible value has the mass 2^-24, so that every table has the same form.
        """
        base, possible = logits.shape[1], np.maximum(possible, 1)  # after an impossible digit, the first one follows
        within = np.arange(base) < possible[:, None]
        top = np.where(within, logits, logits.min()).max(1, keepdims=True)
        behind = np.clip((top - logits) * (EXP_STEPS // UNIT), 0, EXP_REACH * EXP_STEPS)
        weight = exponentials()[behind] * within
        below = np.concatenate([np.zeros((len(logits), 1), np.int64), weight.cumsum(1)], 1)
        scaled = below * (MASS - base) // below[:, -1:] + np.arange(base + 1)
        return cls(scaled)

    def log2_mass(self, digits: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return log2 of the mass of each digit (n,)."""
        found: NDArray[np.float64] = np.log2(self.interval(digits)[1]) - MASS_BITS
        return found

    def interval(self, digits: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the mass below each digit (n,) and its own mass, in units of 2^-24."""
        rows = np.arange(len(digits))
        start = self.cumulative[rows, digits]
        return start, self.cumulative[rows, digits + 1] - start

    def find(self, mass: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the digit (n,) in whose interval each mass (n,) of 0..2^24 - 1 lies."""
        found: NDArray[np.int64] = (self.cumulative[:, 1:] <= mass[:, None]).sum(1)
        return found


@dataclass(frozen=True, eq=False)
class Refinement(Brief):
    """p(x_0 | coarse levels of x_0): every level of a pixel given its coarse level and all that is known around it.

    The number that `nats` returns is the number of bits that the tables take: both are of the same integers.

    Attributes:
        split: of the K levels.
        network: in integers.
    """

    split: LevelSplit
    network: ExactDigitNetwork

    def require_exact(self) -> None:
        """Check that this machine computes the network exactly; see `nelbo.networks.integers.require_exact`."""
        require_exact(self.network.layers)

    def walk(self, shape: tuple[int, int, int]) -> Iterator[tuple[int, Tensor, Pass]]:
        """Yield each (stage, known, pass) in order; `known` (C, H, W) bool marks the pixels with a known digit."""
        for stage in range(len(self.split.digits)):
            for known, now in walk(shape, SIDE):
                yield stage, known, now

    @torch.no_grad()
    def tables(self, x: Tensor, known: Tensor, stage: int, now: Pass, observed: Tensor | None = None) -> DigitTables:
        """Return the distributions of the digits of a pass, image by image and row by row.

        Args:
            x: (B, C, H, W) levels, of which only known digits of observed pixels are used.
            known: (C, H, W) bool, see `walk`.
            stage: number of the digit.
            now: the pass.
            observed: (B, C, H, W) bool, false for missing pixels, whose tables have no meaning; None for all.
        """
        context = numbers(self.split, x, known, stage, now, observed).flatten(0, 2)
        with exact_float32():
            logits = self.network(context, step_of(stage, now, x.shape[1]))[:, : 1 << self.split.digits[stage]]
        shift, below = self.split.shift(stage), self.split.shift(stage + 1)
        start = now.of(x).long() >> shift << shift
        possible = ((self.split.levels - 1 - start) >> below) + 1
        return DigitTables.of(logits.numpy(), possible.flatten().numpy())

    def nats(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return -log p(levels x (B, C, H, W) | their coarse levels) of each dimension, float64 nats.

        Args:
            x: the levels.
            observed: bool that broadcasts against x, false for missing pixels, which have 0 nats; None for all.
        """
        found, seen = torch.zeros(x.shape, dtype=torch.float64), None if observed is None else observed.expand_as(x)
        for first in range(0, len(x), CHUNK):
            part = slice(first, first + CHUNK)
            some, own, here = x[part], found[part], None if seen is None else seen[part]
            for stage, known, now in self.walk(tuple(x.shape[1:])):  # type: ignore[arg-type]
                if not (places := now.of(own)).numel():
                    continue
                digits = self.split.digit(now.of(some).long(), stage).flatten().numpy()
                log2 = torch.from_numpy(self.tables(some, known, stage, now, here).log2_mass(digits))
                places -= np.log(2) * log2.view(places.shape)
        return hidden(found, seen)

    def sample(
        self,
        coarse: Tensor,
        generator: Generators,
        observed: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """Draw levels (B, C, H, W) int32 given their coarse levels; missing pixels change no others.

        Args:
            coarse: (B, C, H, W) coarse levels.
            generator: one, or one for each image.
            observed: bool that broadcasts against them, false for missing pixels; None for all.
            given: int levels that broadcast against them, which some pixels have, and -1 for all others; None for none.
        """
        observed = None if observed is None else observed.expand_as(coarse)
        x = coarse.to(torch.int32) << self.split.bits
        like = torch.zeros((), dtype=torch.float64)
        for stage, known, now in self.walk(tuple(x.shape[1:])):  # type: ignore[arg-type]
            if not (places := now.of(x)).numel():
                continue
            drawn = (uniform(tuple(places.shape), generator, like) * MASS).long().clamp(max=MASS - 1)
            digits = self.tables(x, known, stage, now, observed).find(drawn.flatten().numpy())
            self.place(x, digits, stage, now)
            if given is not None:  # of a known pixel, only the digits that are known in a pass are used
                places[:] = now.of(given.to(x.dtype).expand_as(x)).where(now.of(given >= 0).expand_as(places), places)
        return x.clamp_(max=self.split.levels - 1)

    def place(self, x: Tensor, digits: NDArray[np.int64], stage: int, now: Pass) -> None:
        """Add the digits (n,) of a pass to levels x (B, C, H, W) int32, whose lower bits there are 0."""
        places = now.of(x)
        places |= torch.from_numpy(digits).to(x.dtype).view(places.shape) << self.split.shift(stage + 1)


def num_steps(split: LevelSplit, channels: int) -> int:
    """Return the number of steps with biases of their own."""
    return len(split.digits) * len(passes(channels, SIDE))


def step_of(stage: int, now: Pass, channels: int) -> int:
    """Return the number of the step of a pass."""
    order = passes(channels, SIDE)
    return stage * len(order) + order.index(now)
