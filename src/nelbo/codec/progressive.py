"""Algorithms 3 and 4: an image of the model's size, or many, as messages of a range coder, from coarse to fine.

Both sides chain the strided chain down from an x_T that is a function of nothing. At each step the sender picks, chunk
by chunk, a candidate for x_s ~ q(x_s|x_t, x_0) among those of p_theta(x_s|x_t) and goes on from the sample that the
receiver will have. Below the last step x_0 itself is coded, pixel by pixel.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nelbo.codec.candidates import UNIT, start
from nelbo.codec.channel import Target, choose
from nelbo.codec.chunks import KL_UNIT
from nelbo.codec.lattice import OFFSETS, rounded, safe_offset
from nelbo.codec.pixels import HALVES, LogisticMixture, features, walk
from nelbo.codec.plan import SURPRISES, CodecPlan, Expectation, folded, offset_table
from nelbo.codec.range_coder import RangeEncoder
from nelbo.diffusion import Prediction, ReverseProcess
from nelbo.errors import ConfigurationError, NonFiniteError
from nelbo.probability import DiagonalGaussian

Progress = Callable[[int, int], None]

EFFORTS = range(1, 10)
BASE_BITS, SPARE_BITS = 7, 2  # a chunk of effort e holds 7 + e bits of KL, among 2^(9 + e) candidates
OVERFULL = 1.0  # bits by which a chunk may pass that before the sender asks for one more
MOST_CHUNKS_FACTOR = 2
BLOCK = 1024  # values that share an offset
MARGIN = (
    1e-4  # of xhat_0 from an edge, in levels: 30,000 times what float64 was seen to differ by at the end of a chain
)
ESCAPE_BITS = 16


def chunk_bits(effort: int) -> int:
    """Bits of KL that a chunk should hold."""
    if effort not in EFFORTS:
        raise ConfigurationError(f"--effort must be within 1..9, got {effort}.")
    return BASE_BITS + effort


class Chain:
    """The chain that both sides chain, in float64: what two machines compute then differs by far less than `MARGIN`.

    Args:
        reverse: p_theta over its full schedule.
        plan: which of its steps are walked.
        batch_size: tiles in a call of the network; 8 are as fast as more on a processor.
    """

    def __init__(self, reverse: ReverseProcess, plan: CodecPlan, batch_size: int) -> None:
        network = copy.deepcopy(reverse.network).double() if isinstance(reverse.network, nn.Module) else reverse.network
        schedule = reverse.schedule.strided(plan.steps.tolist())
        self.reverse = replace(reverse, network=network, schedule=schedule)
        self.plan, self.batch_size = plan, batch_size
        self.num_steps = schedule.num_steps - 1  # sent through the channel

    def predictions(self, x: Tensor, t: int) -> Prediction:
        """For tiles (B, C, H, W), batch by batch."""
        parts = []
        for some in x.split(self.batch_size):
            time = torch.full((len(some),), t, dtype=torch.int64, device=some.device)
            parts.append(self.reverse.predict(some, time))
        variance = parts[0].variance[:1]
        return Prediction(torch.cat([p.x_0 for p in parts]), torch.cat([p.noise for p in parts]), variance)

    def transition(self, prediction: Prediction, x: Tensor, t: int) -> DiagonalGaussian:
        """p_theta(x_{t-1}|x_t): the same variance for every pixel and tile."""
        time = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        return self.reverse.transition_of(prediction, x, time)

    def beginning(self, num: int, shape: tuple[int, ...]) -> Tensor:
        """(num, C, H, W) x_T, the same for every tile."""
        z = torch.from_numpy(start(shape[0] * shape[1] * shape[2])).double() * UNIT
        return z.view(1, *shape).expand(num, -1, -1, -1).clone().to(self.reverse.schedule.alphas_bar.device)

    def grid(self, x_0: Tensor) -> Tensor:
        """xhat_0 (B, C, H, W) in half levels, still with a fraction."""
        top = HALVES * (self.reverse.levels - 1)
        return ((x_0.double() + 1) * (top / 2)).cpu()


@dataclass
class SentStep:
    """What the sender says of one step: for each tile its number of chunks, their indices, and the KL they carry."""

    numbers: list[int]
    indices: list[list[int]]
    kl_bits: list[float]


def send_steps(
    chain: Chain, x_0: Tensor, effort: int, seed: int, progress: Progress | None
) -> tuple[list[SentStep], Tensor]:
    """Algorithm 3 down to the last step of the channel: what is said at each step, and the x that the receiver has.

    Args:
        x_0: (B, C, H, W) data in [-1, 1].
    """
    x, sent = chain.beginning(len(x_0), tuple(x_0.shape[1:])), []
    for t in range(chain.num_steps + 1, 1, -1):
        transition = chain.transition(chain.predictions(x, t), x, t)
        time = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        q = chain.reverse.forward_process.posterior(x_0, x, time)
        stddev = transition.variance.sqrt()
        shift = ((q.mean - transition.mean) / stddev).flatten(1).cpu().float()
        if not bool(shift.isfinite().all()):
            raise NonFiniteError(f"the network's output at t = {int(chain.plan.steps[t - 1])} is not finite.")
        ratio = float((q.variance.flatten()[0].double() / transition.variance.flatten()[0].double()).sqrt())
        step, z = _send_step(chain, Target(shift, ratio), t - 2, effort, seed)
        x = transition.mean + stddev * z.view_as(x).to(x.device)
        sent.append(step)
        if progress is not None:
            progress(chain.num_steps + 2 - t, chain.num_steps)
    return sent, x


def _send_step(chain: Chain, target: Target, step: int, effort: int, seed: int) -> tuple[SentStep, Tensor]:
    """One step of all tiles: how many chunks each takes, and for each chunk its candidate; z (B, D)."""
    order = chain.plan.layout.order
    shift = target.shift[:, order]
    kl = Target(shift, target.ratio).kl().div(torch.log(torch.tensor(2.0))).cumsum(1)  # bits, over the scan
    bits = chunk_bits(effort)
    numbers = [_number_of_chunks(chain, step, total, bits) for total in kl]
    z, indices = torch.zeros_like(shift), [[0] * number for number in numbers]
    groups = {number: [i for i, n in enumerate(numbers) if n == number] for number in sorted(set(numbers))}
    cuts = {number: chain.plan.layout.cuts(step, number) for number in groups}
    for chunk in range(max(numbers)):
        here = {
            n: slice(cuts[n][chunk], cuts[n][chunk + 1])
            for n in groups
            if n > chunk and cuts[n][chunk] < cuts[n][chunk + 1]
        }
        if not here:
            continue
        targets = [Target(shift[groups[n], place], target.ratio) for n, place in here.items()]
        found = choose(targets, step, chunk, bits + SPARE_BITS, seed)
        for (n, place), (index, chosen) in zip(here.items(), found, strict=True):
            z[groups[n], place] = chosen
            for tile, i in zip(groups[n], index.tolist(), strict=True):
                indices[tile][chunk] = i
    return SentStep(numbers, indices, kl[:, -1].tolist()), torch.zeros_like(z).index_copy(1, order, z).double()


def _number_of_chunks(chain: Chain, step: int, kl: Tensor, bits: int) -> int:
    """The least number of chunks at which none is much too full; twice what the KL alone asks for at most.

    Args:
        kl: (D,) bits up to and with each place of the scan.
    """
    least = max(1, -(-int(kl[-1] + 0.5) // bits))
    for number in range(least, MOST_CHUNKS_FACTOR * least):
        before = torch.cat([kl.new_zeros(1), kl])[torch.tensor(chain.plan.layout.cuts(step, number))]
        if float(before.diff().max()) <= bits + OVERFULL:
            return number
    return MOST_CHUNKS_FACTOR * least


def write_step(
    encoder: RangeEncoder, plan: CodecPlan, step: int, said: SentStep, expected: list[Expectation], effort: int
) -> None:
    """A step of one image's tiles."""
    bits = chunk_bits(effort)
    numbers, units = plan.number_table(), plan.layout.total(step)
    for number, expectation in zip(said.numbers, expected, strict=True):
        symbol = folded(number - expectation.of(units, int(bits / KL_UNIT)))
        encoder.symbol(min(symbol, SURPRISES - 1), numbers)
        if symbol >= SURPRISES - 1:
            encoder.bits(number, ESCAPE_BITS)
        expectation.add(number, units)
    table = plan.index_table(bits, bits + SPARE_BITS)
    for number, indices in zip(said.numbers, said.indices, strict=True):
        cuts = plan.layout.cuts(step, number)
        for chunk, index in enumerate(indices):
            if cuts[chunk] < cuts[chunk + 1]:
                length = index.bit_length()
                encoder.symbol(length, table)
                encoder.bits(index & ((1 << max(length - 1, 0)) - 1), max(length - 1, 0))


def protect(chain: Chain, x_0: Tensor) -> tuple[list[list[int]], Tensor]:
    """Round xhat_0 of one image's tiles (B, C, H, W) safely: each block's offset, and the centres in half levels."""
    top = HALVES * (chain.reverse.levels - 1)
    values, centers, offsets = chain.grid(x_0).flatten(1), [], []
    for tile in values:
        own, parts = [], []
        for block in tile.split(BLOCK):
            offset = safe_offset(block, MARGIN * HALVES, 0, top)
            own.append(OFFSETS if offset is None else offset)
            parts.append(centers_of(block, own[-1], top))
        offsets.append(own)
        centers.append(torch.cat(parts))
    return offsets, torch.stack(centers).view(x_0.shape)


def centers_of(block: Tensor, offset: int, top: int) -> Tensor:
    """The rounded values of a block; the middle where no offset protects them."""
    return torch.full(block.shape, top // 2) if offset == OFFSETS else rounded(block, offset).clamp(0, top)


def write_pixels(
    encoder: RangeEncoder, plan: CodecPlan, offsets: list[list[int]], center: Tensor, x: Tensor, real: Tensor
) -> None:
    """The lossless end of one image's tiles.

    Args:
        center, x, real: (B, C, H, W) rounded xhat_0, levels, and which pixels are of the image and not of its padding.
    """
    table = offset_table(OFFSETS)
    for own in offsets:
        for offset in own:
            encoder.symbol(offset, table)
    for known, new in walk(tuple(x.shape[1:])):
        mixture, chosen = mixture_of(plan, center, x, known & real, new & real)
        values = x[chosen].numpy().astype("int64")[:, None]
        low, high = (mixture.cumulative(values + d)[:, 0] for d in (0, 1))
        encoder.intervals(low, high - low)


def mixture_of(
    plan: CodecPlan, center: Tensor, x: Tensor, known: Tensor, wanted: Tensor
) -> tuple[LogisticMixture, Tensor]:
    """The distributions of the wanted pixels (B, C, H, W), and which they are."""
    levels = plan.pixels.options.levels
    output = plan.pixels(features(center, x, known, levels))  # B, C, 3, components, H, W
    chosen = wanted.expand_as(center)
    rows = torch.from_numpy(output).permute(0, 1, 4, 5, 2, 3)[chosen].numpy()
    return LogisticMixture.read(rows, center[chosen].numpy(), levels), chosen
