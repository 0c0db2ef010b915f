"""The states of a receiver; see `nelbo.codec.receiver`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from nelbo.codec.chain import SharedChain
from nelbo.codec.channel import regenerate
from nelbo.codec.expectation import Expectation
from nelbo.codec.grid import centers
from nelbo.codec.message import read_grid, read_pass, read_step
from nelbo.codec.pixel_passes import PixelPass
from nelbo.codec.range_coder import RangeDecoder
from nelbo.codec.tiling import Tiling
from nelbo.diffusion.passes import known_before


@dataclass(frozen=True)
class Source:
    """The parts of a receiver that all its states share."""

    chain: SharedChain
    tiling: Tiling
    effort: int
    lossless: bool
    decoder: RangeDecoder


@dataclass(frozen=True)
class NeedsPrediction:
    """x_t is known, and the network has not predicted x_0 from it yet.

    Attributes:
        x: (tiles, C, H, W) x_t.
        t: its time in the strided chain.
        expected: the expectation of each tile's next number of chunks.
        chunks: number of chunks of the step to x_t, in all tiles; 0 for x_T.
    """

    x: Tensor
    t: int
    expected: list[Expectation]
    chunks: int = 0

    def predicted(self, source: Source, prediction: Any) -> "NeedsStep | NeedsGrid | NeedsPass | Finished":
        """Return the next state, given the network's prediction of x_0."""
        if self.t > 1:
            return NeedsStep(self.x, self.t, self.expected, prediction)
        if not source.lossless:
            return Finished(source.chain.picture(prediction))
        if not source.chain.exact:
            return NeedsGrid(self.x, prediction)
        return NeedsPass.first(source.chain.evidence(prediction, self.x), self.x)


@dataclass(frozen=True)
class NeedsStep:
    """The next element of the message is a step: x_{t-1}.

    Attributes:
        x, t, expected: see `NeedsPrediction`.
        prediction: the network's, from x_t.
    """

    x: Tensor
    t: int
    expected: list[Expectation]
    prediction: Any

    def read(self, source: Source) -> NeedsPrediction:
        """Read the step.

        Raises:
            Exhausted: the bytes at hand do not hold all of it.
        """
        step, plan = self.t - 2, source.chain.plan
        indices, expected = read_step(source.decoder, plan, step, source.effort, self.expected)
        z = torch.zeros(self.x[0].numel(), len(self.x), dtype=torch.float64)
        for tile, own in enumerate(indices):
            cuts = plan.layout.cuts(step, len(own))
            parts = [regenerate(step, chunk, index, cuts[chunk + 1] - cuts[chunk]) for chunk, index in enumerate(own)]
            z[:, tile] = torch.cat(parts).double()
        z = torch.zeros_like(z).index_copy(0, plan.layout.order, z).T.reshape(self.x.shape)
        x = source.chain.step(self.prediction, self.x, self.t, z)
        return NeedsPrediction(x, self.t - 1, expected, chunks=sum(len(own) for own in indices))

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64."""
        return source.chain.picture(self.prediction)


@dataclass(frozen=True)
class NeedsGrid:
    """The next element of the message is the grid.

    Attributes:
        x: (tiles, C, H, W) x_1.
        prediction: the network's last, from x_1.
    """

    x: Tensor
    prediction: Any

    def read(self, source: Source) -> "NeedsPass":
        """Read the grid.

        Raises:
            Exhausted: the bytes at hand do not hold all of it.
        """
        seen = source.chain.evidence(self.prediction, self.x)
        values = seen.flatten(1)
        offsets = read_grid(source.decoder, *values.shape)
        return NeedsPass.first(centers(values, offsets, source.chain.levels).view(seen.shape), self.x)

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64."""
        return source.chain.picture(self.prediction)


@dataclass(frozen=True)
class NeedsPass:
    """The next element of the message is a pass of pixels.

    Attributes:
        center: (tiles, VC, H, W) int64, what the pixel network read at the pass before, in half levels, or reads at
            the first one.
        x_1: (tiles, C, H, W).
        pixels: (tiles, C, H, W) int64, the pixels of all earlier passes.
        number: of this pass, from 0.
        begun: the levels of this pass that are read already.
        distributions: of the pixels of this pass, if they are computed.
    """

    center: Tensor
    x_1: Tensor
    pixels: Tensor
    number: int = 0
    begun: tuple[int, ...] = ()
    distributions: PixelPass | None = None

    @classmethod
    def first(cls, center: Tensor, x_1: Tensor) -> "NeedsPass":
        """Return the state before the first pass."""
        return cls(center, x_1, torch.zeros(x_1.shape, dtype=torch.int64))

    def read(self, source: Source) -> "NeedsPass | Finished":
        """Read the rest of the pass, or as much of it as the bytes at hand determine."""
        chain, real, found = source.chain, source.tiling.real(), self.distributions
        if found is None:
            found = PixelPass.of(chain, self.number, self.center, self.x_1, self.pixels, real)
        rest = read_pass(source.decoder, found.mixture, len(self.begun), fine=chain.exact)
        levels = (*self.begun, *rest)
        if len(levels) < int(found.chosen.sum()):
            return replace(self, begun=levels, distributions=found)
        pixels = _with(self.pixels, found.chosen, levels)
        if self.number + 1 == len(chain.passes):
            return Finished(pixels.double())
        return NeedsPass(found.center, self.x_1, pixels, self.number + 1)

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64: pixels that are read, and the means of the others."""
        real, remaining = source.tiling.real(), source.chain.passes[self.number :]
        known = known_before(source.chain.passes, self.number, source.tiling.tile)
        begun = remaining[0].mask(source.tiling.tile) & real
        pixels, known = _with(self.pixels, begun, self.begun), _with(known & real, begun, (True,) * len(self.begun))
        return source.chain.filled(self.center, pixels, known, real, remaining)


@dataclass(frozen=True)
class Finished:
    """Every element of the message is read.

    Attributes:
        pixels: (tiles, C, H, W) float64, the levels of the final picture.
    """

    pixels: Tensor

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64."""
        return self.pixels


def _with(values: Tensor, mask: Tensor, new: Sequence[int] | Sequence[bool]) -> Tensor:
    """Return a copy of `values` with `new` at the first places of a mask."""
    changed = values.clone()
    changed[tuple(mask.nonzero()[: len(new)].T)] = torch.tensor(new, dtype=values.dtype)
    return changed
