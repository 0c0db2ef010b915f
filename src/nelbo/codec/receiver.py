"""Algorithm 4: what the receiver makes of a message, or of the beginning of one."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nelbo.codec.channel import regenerate
from nelbo.codec.chunks import KL_UNIT
from nelbo.codec.lattice import OFFSETS
from nelbo.codec.pixels import HALVES, passes, walk
from nelbo.codec.plan import SURPRISES, Expectation, offset_table, unfolded
from nelbo.codec.progressive import (
    BLOCK,
    ESCAPE_BITS,
    SPARE_BITS,
    Chain,
    Progress,
    centers_of,
    chunk_bits,
    mixture_of,
)
from nelbo.codec.range_coder import Exhausted, RangeDecoder
from nelbo.codec.tiling import Tiling
from nelbo.diffusion import Prediction


class Receiver:
    """One image on its way in: `look` and `read` in turn, until it is `done`.

    Attributes:
        x: (tiles, C, H, W) the last x_t that is known, whose t is `t` of the strided chain.
        prediction: what the network makes of it, or None before the look.
        known: (tiles, C, H, W) bool, pixels that are known exactly.
        position: bytes of the message that this depends on.
        chunks_read: of the last step.
    """

    def __init__(
        self, chain: Chain, tiling: Tiling, effort: int, message: bytes, *, lossless: bool, complete: bool
    ) -> None:
        self.lossless = lossless
        self.chain, self.tiling, self.plan = chain, tiling, chain.plan
        self.bits = chunk_bits(effort)
        self.decoder = RangeDecoder(message, complete=complete)
        self.x = chain.beginning(tiling.num_tiles, tiling.tile)
        self.t = chain.num_steps + 1
        self.prediction: Prediction | None = None
        self.real = tiling.real()
        self.pixels = torch.zeros(self.x.shape, dtype=torch.int64)
        self.known = torch.zeros(self.x.shape, dtype=torch.bool)
        self.center: Tensor | None = None
        self.passes_done = 0
        self.position = 0
        self.chunks_read = 0
        self._expected = [Expectation() for _ in range(tiling.num_tiles)]
        self._numbers: list[int] = []
        self._indices: list[list[int]] = []
        self._length: int | None = None
        self._offsets: list[int] = []
        self._symbols: list[int] = []

    @property
    def done(self) -> bool:
        """Whether there is nothing more to read."""
        all_passes = self.passes_done == len(passes(self.tiling.tile[0]))
        return self.t == 1 and self.prediction is not None and (all_passes or not self.lossless)

    def look(self, prediction: Prediction) -> None:
        """Take what the network says of x."""
        self.prediction = prediction

    def read(self) -> None:
        """Read the next part: x_{t-1}, the grid of the last xhat_0, or a pass of pixels.

        Raises:
            Exhausted: the bytes at hand end within it; with more, another call goes on where this one stopped.
        """
        assert self.prediction is not None and not self.done
        if self.t > 1:
            self._read_step(self.prediction)
        elif self.center is None:
            self._read_grid(self.prediction)
        else:
            self._read_pass(self.center)

    def _read_step(self, prediction: Prediction) -> None:
        """x_{t-1} given what the network says of x_t."""
        step = self.t - 2
        self._read_numbers(step)
        self._read_indices(step)
        transition = self.chain.transition(prediction, self.x, self.t)
        z = torch.zeros(self.x[0].numel(), len(self.x), dtype=torch.float64)
        for tile, indices in enumerate(self._indices):
            cuts = self.plan.layout.cuts(step, len(indices))
            parts = [
                regenerate(step, chunk, index, cuts[chunk + 1] - cuts[chunk]) for chunk, index in enumerate(indices)
            ]
            z[:, tile] = torch.cat(parts).double()
        z = torch.zeros_like(z).index_copy(0, self.plan.layout.order, z).T.reshape(self.x.shape)
        self.x = transition.mean + transition.variance.sqrt() * z.to(self.x.device)
        self.t, self.prediction = self.t - 1, None
        self.chunks_read = sum(self._numbers)
        self._numbers, self._indices = [], []
        self.position = self.decoder.position

    def _read_numbers(self, step: int) -> None:
        """How many chunks each tile's step has."""
        table, units = self.plan.number_table(), self.plan.layout.total(step)
        while len(self._numbers) < len(self.x):
            expectation = self._expected[len(self._numbers)]
            if self._length is None:
                self._length = self.decoder.symbol(table)
            if self._length == SURPRISES - 1:
                number = self.decoder.bits(ESCAPE_BITS)
            else:
                number = unfolded(self._length) + expectation.of(units, int(self.bits / KL_UNIT))
            self._length = None
            number = min(max(number, 1), self.x[0].numel())  # a damaged message may say anything
            expectation.add(number, units)
            self._numbers.append(number)

    def _read_indices(self, step: int) -> None:
        """The index of each chunk."""
        table = self.plan.index_table(self.bits, self.bits + SPARE_BITS)
        while len(self._indices) < len(self.x) or len(self._indices[-1]) < self._numbers[len(self._indices) - 1]:
            if not self._indices or len(self._indices[-1]) == self._numbers[len(self._indices) - 1]:
                self._indices.append([])
            own, number = self._indices[-1], self._numbers[len(self._indices) - 1]
            cuts = self.plan.layout.cuts(step, number)
            while len(own) < number:
                if cuts[len(own)] == cuts[len(own) + 1]:
                    own.append(0)
                    continue
                if self._length is None:
                    self._length = self.decoder.symbol(table)
                low = max(self._length - 1, 0)
                own.append((1 << low if self._length else 0) | self.decoder.bits(low))
                self._length = None

    def _read_grid(self, prediction: Prediction) -> None:
        """The offsets that protect xhat_0, and with them its rounded values."""
        table, blocks = offset_table(OFFSETS), -(-self.x[0].numel() // BLOCK)
        while len(self._offsets) < blocks * len(self.x):
            self._offsets.append(self.decoder.symbol(table))
        top = HALVES * (self.chain.reverse.levels - 1)
        values = self.chain.grid(prediction.x_0).flatten(1)
        rows = [
            torch.cat([centers_of(b, o, top) for b, o in zip(tile.split(BLOCK), own, strict=True)])
            for tile, own in zip(values, torch.tensor(self._offsets).view(len(values), -1).tolist(), strict=True)
        ]
        self.center = torch.stack(rows).view(self.x.shape)
        self.position = self.decoder.position

    def _read_pass(self, center: Tensor) -> None:
        """The pixels of one pass."""
        known, new = list(walk(self.tiling.tile))[self.passes_done]
        mixture, chosen = mixture_of(self.plan, center, self.pixels, known & self.real, new & self.real)
        try:
            self.decoder.symbols(mixture.tables()[len(self._symbols) :], self._symbols)
        finally:
            places = chosen.nonzero()[: len(self._symbols)]
            self.pixels[tuple(places.T)] = torch.tensor(self._symbols, dtype=torch.int64)
            self.known[tuple(places.T)] = True
            self.position = self.decoder.position
        self._symbols = []
        self.passes_done += 1

    def picture(self) -> Tensor:
        """(C, height, width) uint8: the best that is known now."""
        if self.center is None:
            assert self.prediction is not None
            levels = (self.chain.grid(self.prediction.x_0) / HALVES).round()
        else:
            levels = self.pixels.double()
            wanted = self.real & ~self.known
            if bool(wanted.any()):
                mixture, chosen = mixture_of(self.plan, self.center, self.pixels, self.known, wanted)
                levels[chosen] = torch.from_numpy(mixture.expected()).round()
        return self.tiling.join(levels.clamp(0, self.chain.reverse.levels - 1).to(torch.uint8))


def look_at(chain: Chain, receivers: Sequence[Receiver]) -> None:
    """Show receivers that stand at the same t what the network makes of their x, all in the same calls."""
    prediction = chain.predictions(torch.cat([receiver.x for receiver in receivers]), receivers[0].t)
    sizes = [len(receiver.x) for receiver in receivers]
    parts = zip(receivers, prediction.x_0.split(sizes), prediction.noise.split(sizes), strict=True)
    for receiver, x_0, noise in parts:
        receiver.look(Prediction(x_0, noise, prediction.variance))


def receive(chain: Chain, receivers: Sequence[Receiver], *, progress: Progress | None = None) -> None:
    """Read many messages as far as they go, one call of the network a step for all of them."""
    active = list(receivers)
    for t in range(chain.num_steps + 1, 0, -1):
        if active:
            look_at(chain, active)
        active = [receiver for receiver in active if _reads_on(receiver)]
        if progress is not None:
            progress(chain.num_steps + 2 - t, chain.num_steps + 1)


def _reads_on(receiver: Receiver) -> bool:
    """Read all that needs no further look; whether one is wanted then."""
    try:
        while receiver.prediction is not None and not receiver.done:
            receiver.read()
    except Exhausted:
        return False
    return receiver.prediction is None
