"""Algorithm 4: the receiver turns a message, or its first bytes, into pictures, from coarse to fine.

The states of a receiver, where a lossy message has no grid and no passes:

    NeedsPrediction -> NeedsStep -> ... -> NeedsPrediction -> NeedsGrid -> NeedsPass -> ... -> NeedsPass -> Finished

and one of version 2 has no grid. `NeedsPrediction` has an x_t from which the network predicts x_0 next. Each other
`Needs` state is before an element of the message (`nelbo.codec.message`), has a picture, and stays the same while bytes
are missing: the message may be cut short there, or more bytes may arrive.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from nelbo.codec.chain import SharedChain
from nelbo.codec.expectation import Expectation
from nelbo.codec.pixel_passes import PixelPass
from nelbo.codec.range_coder import NARROW, WIDE, Exhausted, RangeDecoder
from nelbo.codec.states import Finished, NeedsGrid, NeedsPass, NeedsPrediction, NeedsStep, Source
from nelbo.codec.tiling import Tiling
from nelbo.progress import Progress


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
        self, chain: SharedChain, tiling: Tiling, effort: int, message: bytes, *, lossless: bool, complete: bool
    ) -> None:
        decoder = RangeDecoder(message, complete=complete, width=WIDE if chain.exact else NARROW)
        self.source = Source(chain, tiling, effort, lossless, decoder)
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

    def predicted(self, prediction: Any) -> None:
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
        levels = self.state.levels(self.source).clamp(0, self.source.chain.levels - 1)
        return self.source.tiling.join(levels.to(torch.uint8))


def predict(chain: SharedChain, receivers: Sequence[Receiver]) -> None:
    """Predict x_0 for receivers that need it at the same t, in the same calls of the network."""
    states = [receiver.state for receiver in receivers if isinstance(receiver.state, NeedsPrediction)]
    prediction = chain.predictions(torch.cat([state.x for state in states]), states[0].t)
    parts = chain.divided(prediction, [len(state.x) for state in states])
    for receiver, own in zip(receivers, parts, strict=True):
        receiver.predicted(own)


def share_pass(chain: SharedChain, receivers: Sequence[Receiver]) -> None:
    """Compute the distributions of the pixels for receivers at the same pass, in the same calls of the networks."""
    states = [receiver.state for receiver in receivers if isinstance(receiver.state, NeedsPass)]
    reals = [receiver.source.tiling.real() for receiver in receivers]
    center, x_1, pixels = (torch.cat([getattr(each, name) for each in states]) for name in ("center", "x_1", "pixels"))
    together = PixelPass.of(chain, states[0].number, center, x_1, pixels, torch.cat(reals))
    parts = together.divided([len(state.pixels) for state in states])
    for receiver, state, own in zip(receivers, states, parts, strict=True):
        receiver.state = replace(state, distributions=own)


def receive(chain: SharedChain, receivers: Sequence[Receiver], *, progress: Progress | None = None) -> None:
    """Read messages as far as their bytes go; at each element, the tiles of all of them share the networks' calls."""
    waiting, passes = list(receivers), len(chain.passes) if any(each.source.lossless for each in receivers) else 0
    total = chain.num_steps + 1 + passes
    for t in range(chain.num_steps + 1, 0, -1):
        if waiting:
            predict(chain, waiting)
        waiting = [receiver for receiver in waiting if _reads_on(receiver)]
        if progress is not None:
            progress(chain.num_steps + 2 - t, total)
    done = chain.num_steps + 1
    while waiting:
        share_pass(chain, waiting)
        waiting = [receiver for receiver in waiting if receiver.read() and not receiver.done]
        done += 1
        if progress is not None:
            progress(done, total)


def _reads_on(receiver: Receiver) -> bool:
    """Read until the networks are needed or bytes are missing, and return whether the networks are needed."""
    while not (receiver.needs_prediction or receiver.done or isinstance(receiver.state, NeedsPass)):
        if not receiver.read():
            return False
    return not receiver.done
