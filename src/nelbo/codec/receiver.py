"""Algorithm 4: the receiver turns a message, or its first bytes, into pictures, from coarse to fine.

The states of a receiver, where a lossy message has no grid and no passes:

    NeedsPrediction -> NeedsStep -> ... -> NeedsPrediction -> NeedsGrid -> NeedsPass -> ... -> NeedsPass -> Finished

`NeedsPrediction` has an x_t from which the network predicts x_0 next. Each other `Needs` state is before an element of
the message (`nelbo.codec.message`), has a picture, and stays the same while bytes are missing: the message may be cut
short there, or more bytes may arrive.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.codec.chain import Chain
from nelbo.codec.channel import regenerate
from nelbo.codec.expectation import Expectation
from nelbo.codec.lattice import centers
from nelbo.codec.message import read_grid, read_pass, read_step
from nelbo.codec.range_coder import Exhausted, RangeDecoder
from nelbo.codec.tiling import Tiling
from nelbo.diffusion import Prediction
from nelbo.diffusion.passes import Pass, walk
from nelbo.diffusion.pixel_decoder import expected_levels, mixture_of
from nelbo.probability.logistic import HALVES
from nelbo.progress import Progress


@dataclass(frozen=True)
class Source:
    """The parts of a receiver that all its states share."""

    chain: Chain
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

    def predicted(self, source: Source, prediction: Prediction) -> "NeedsStep | NeedsGrid | Finished":
        """Return the next state, given the network's prediction of x_0."""
        if self.t > 1:
            return NeedsStep(self.x, self.t, self.expected, prediction)
        return NeedsGrid(self.x, prediction) if source.lossless else Finished(_levels_of(source, prediction))


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
    prediction: Prediction

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
        p = source.chain.transition(self.prediction, self.x, self.t)
        x = p.mean + p.variance.sqrt() * z.to(self.x.device)
        return NeedsPrediction(x, self.t - 1, expected, chunks=sum(len(own) for own in indices))

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64."""
        return _levels_of(source, self.prediction)


@dataclass(frozen=True)
class NeedsGrid:
    """The next element of the message is the grid.

    Attributes:
        x: (tiles, C, H, W) x_1.
        prediction: the network's last, from x_1.
    """

    x: Tensor
    prediction: Prediction

    def read(self, source: Source) -> "NeedsPass":
        """Read the grid.

        Raises:
            Exhausted: the bytes at hand do not hold all of it.
        """
        seen = source.chain.evidence(self.prediction, self.x)
        values = seen.flatten(1)
        offsets = read_grid(source.decoder, *values.shape)
        center = centers(values, offsets, source.chain.reverse.levels).view(seen.shape)
        return NeedsPass(center, torch.zeros(self.x.shape, dtype=torch.int64))

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64."""
        return _levels_of(source, self.prediction)


@dataclass(frozen=True)
class NeedsPass:
    """The next element of the message is a pass of pixels.

    Attributes:
        center: (tiles, VC, H, W) int64, the rounded evidence, in half levels.
        pixels: (tiles, C, H, W) int64, the pixels of all earlier passes.
        number: of this pass, from 0.
        begun: the levels of this pass that are read already.
    """

    center: Tensor
    pixels: Tensor
    number: int = 0
    begun: tuple[int, ...] = ()

    def read(self, source: Source) -> "NeedsPass | Finished":
        """Read the rest of the pass, or as much of it as the bytes at hand determine."""
        plan, real, remaining = source.chain.plan, source.tiling.real(), self._remaining(source)
        known, now = remaining[0]
        mixture, chosen = mixture_of(plan.pixels, self.center, self.pixels, known & real, now, real)
        levels = (*self.begun, *read_pass(source.decoder, mixture, len(self.begun)))
        if len(levels) < int(chosen.sum()):
            return replace(self, begun=levels)
        pixels = _with(self.pixels, chosen, levels)
        if len(remaining) == 1:
            return Finished(pixels.double())
        return NeedsPass(self.center, pixels, self.number + 1)

    def levels(self, source: Source) -> Tensor:
        """Return the picture's levels, (tiles, C, H, W) float64: pixels that are read, and the means of the others."""
        network, real, remaining = source.chain.plan.pixels, source.tiling.real(), self._remaining(source)
        known, now = remaining[0]
        begun = now.mask(tuple(real.shape[1:])) & real
        pixels, known = _with(self.pixels, begun, self.begun), _with(known & real, begun, (True,) * len(self.begun))
        if network.options.blocks == 0:
            return expected_levels(network, self.center, pixels, known, real)
        for _, each in remaining:  # every pass takes the means of the passes before it as known
            mixture, chosen = mixture_of(network, self.center, pixels, known, each, real & ~known)
            pixels = _with(pixels, chosen, mixture.expected().round().tolist())
            known = known | chosen
        return pixels.double()

    def _remaining(self, source: Source) -> list[tuple[Tensor, Pass]]:
        """Return this pass and the later ones, each with the (C, H, W) mask of the pixels of earlier passes."""
        return list(walk(source.tiling.tile, source.chain.plan.pixels.options.side))[self.number :]


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


def _levels_of(source: Source, prediction: Prediction) -> Tensor:
    """Return a prediction of x_0 as levels (tiles, C, H, W)."""
    return (source.chain.grid(prediction.x_0) / HALVES).round()


def _with(values: Tensor, mask: Tensor, new: Sequence[int] | Sequence[bool]) -> Tensor:
    """Return a copy of `values` with `new` at the first places of a mask."""
    changed = values.clone()
    changed[tuple(mask.nonzero()[: len(new)].T)] = torch.tensor(new, dtype=values.dtype)
    return changed


class Receiver:
    """One image that is being received: predict when it `needs_prediction`, `read` otherwise, until it is `done`.

    Args:
        chain: the chain that the sender ran.
        tiling: of the image.
        effort: of the file.
        message: the bytes at hand; `feed` adds more.
        lossless: whether the grid and the passes follow the steps.
        complete: whether no bytes are missing.

    Attributes:
        state: how far the message is read.
        position: number of bytes of the message that the state depends on.
    """

    def __init__(
        self, chain: Chain, tiling: Tiling, effort: int, message: bytes, *, lossless: bool, complete: bool
    ) -> None:
        self.source = Source(chain, tiling, effort, lossless, RangeDecoder(message, complete=complete))
        x, expected = chain.beginning(tiling.num_tiles, tiling.tile), [Expectation()] * tiling.num_tiles
        self.state: NeedsPrediction | NeedsStep | NeedsGrid | NeedsPass | Finished = NeedsPrediction(
            x, chain.num_steps + 1, expected
        )
        self.position = 0

    @property
    def needs_prediction(self) -> bool:
        """Whether the network's prediction is needed next."""
        return isinstance(self.state, NeedsPrediction)

    @property
    def done(self) -> bool:
        """Whether every element of the message is read."""
        return isinstance(self.state, Finished)

    def feed(self, more: bytes, *, complete: bool) -> None:
        """Add bytes of the message that have arrived."""
        self.source.decoder.feed(more, complete=complete)

    def predicted(self, prediction: Prediction) -> None:
        """Continue with the network's prediction of x_0 from x_t."""
        assert isinstance(self.state, NeedsPrediction)
        self.state = self.state.predicted(self.source, prediction)

    def read(self) -> bool:
        """Read the next element, and return whether the bytes at hand hold all of it.

        If not, a step or the grid is not read at all, and a pass as far as its bytes go; the next call continues there.
        """
        before = self.state
        assert not isinstance(before, NeedsPrediction | Finished)
        try:
            after = before.read(self.source)
        except Exhausted:
            return False
        self.state, self.position = after, self.source.decoder.position
        return not (isinstance(before, NeedsPass) and isinstance(after, NeedsPass) and before.number == after.number)

    def picture(self) -> Tensor:
        """Return the best picture so far, (C, height, width) uint8."""
        assert not isinstance(self.state, NeedsPrediction)
        levels = self.state.levels(self.source).clamp(0, self.source.chain.reverse.levels - 1)
        return self.source.tiling.join(levels.to(torch.uint8))


def predict(chain: Chain, receivers: Sequence[Receiver]) -> None:
    """Predict x_0 for receivers that need it at the same t, in the same calls of the network."""
    states = [receiver.state for receiver in receivers if isinstance(receiver.state, NeedsPrediction)]
    prediction = chain.predictions(torch.cat([state.x for state in states]), states[0].t)
    sizes = [len(state.x) for state in states]
    parts = zip(receivers, prediction.x_0.split(sizes), prediction.noise.split(sizes), strict=True)
    for receiver, x_0, noise in parts:
        receiver.predicted(Prediction(x_0, noise, prediction.variance))


def receive(chain: Chain, receivers: Sequence[Receiver], *, progress: Progress | None = None) -> None:
    """Read messages as far as their bytes go; at each step, the tiles of all of them share the network's calls."""
    waiting = list(receivers)
    for t in range(chain.num_steps + 1, 0, -1):
        if waiting:
            predict(chain, waiting)
        waiting = [receiver for receiver in waiting if _reads_on(receiver)]
        if progress is not None:
            progress(chain.num_steps + 2 - t, chain.num_steps + 1)


def _reads_on(receiver: Receiver) -> bool:
    """Read until a prediction is needed or bytes are missing, and return whether a prediction is needed."""
    while not (receiver.needs_prediction or receiver.done):
        if not receiver.read():
            return False
    return receiver.needs_prediction
