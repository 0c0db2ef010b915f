"""Algorithm 3: the sender turns tiles into messages, from coarse to fine.

The sender runs the strided chain down from x_T, which every receiver knows. At each step it picks, chunk by chunk, a
candidate for x_s ~ q(x_s|x_t, x_0) among those of p_theta(x_s|x_t), and continues from the sample that the receiver
will have. After the last step it encodes x_0 itself, pixel by pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nelbo.codec.chain import Chain
from nelbo.codec.channel import Target, choose
from nelbo.codec.chunks import ChunkLayout, candidate_bits, chunk_bits
from nelbo.codec.expectation import Expectation
from nelbo.codec.lattice import centers, safe_offsets
from nelbo.codec.message import ESCAPE_BITS, Indices, write_grid, write_pass, write_step
from nelbo.codec.range_coder import RangeEncoder
from nelbo.diffusion.passes import walk
from nelbo.diffusion.pixel_decoder import mixture_of
from nelbo.errors import NonFiniteError
from nelbo.progress import Progress

OVERFULL = 1.0  # bits by which a chunk may exceed its size before the sender adds a chunk
MOST_CHUNKS_FACTOR = 2


def send_steps(
    chain: Chain, x_0: Tensor, effort: int, seed: int, progress: Progress | None
) -> tuple[list[list[list[int]]], Tensor]:
    """Simulate the channel for every step of the chain (Algorithm 3).

    Args:
        x_0: (B, C, H, W) data in [-1, 1].
        effort: 1..9, see `chunk_bits`.
        seed: of the sender's own draws; the receiver does not need it.

    Returns:
        For each step, from the noisiest on, the `Indices` of the B tiles; and x_1 as the receiver has it.

    Raises:
        NonFiniteError: the network's output is NaN or infinite.
    """
    x, sent = chain.beginning(len(x_0), tuple(x_0.shape[1:])), []
    for t in range(chain.num_steps + 1, 1, -1):
        p = chain.transition(chain.predictions(x, t), x, t)
        time = torch.full((len(x),), t, dtype=torch.int64, device=x.device)
        target = Target.between(chain.reverse.forward_process.posterior(x_0, x, time), p)
        if not bool(target.shift.isfinite().all()):
            raise NonFiniteError(f"the network's output at t = {int(chain.plan.steps[t - 1])} is not finite.")
        indices, z = _send_step(chain.plan.layout, target, t - 2, effort, seed)
        x = p.mean + p.variance.sqrt() * z.view_as(x).to(x.device)
        sent.append(indices)
        if progress is not None:
            progress(chain.num_steps + 2 - t, chain.num_steps)
    return sent, x


def _send_step(
    layout: ChunkLayout, target: Target, step: int, effort: int, seed: int
) -> tuple[list[list[int]], Tensor]:
    """Choose a candidate for each chunk of each tile: their indices, and z (B, D) float64."""
    shift = target.shift[:, layout.order]
    # a float32 logarithm: the numbers of chunks, and so the bytes of a file, depend on its last digit
    kl = Target(shift, target.ratio).kl().div(torch.log(torch.tensor(2.0))).cumsum(1)  # bits, over the scan
    numbers = [_number_of_chunks(layout, step, total, chunk_bits(effort)) for total in kl]
    z, indices = torch.zeros_like(shift), [[0] * number for number in numbers]
    tiles = {number: [i for i, n in enumerate(numbers) if n == number] for number in sorted(set(numbers))}
    cuts = {number: layout.cuts(step, number) for number in tiles}
    for chunk in range(max(numbers)):
        places = {n: slice(cuts[n][chunk], cuts[n][chunk + 1]) for n in tiles if n > chunk}
        places = {n: place for n, place in places.items() if place.start < place.stop}
        if not places:
            continue
        targets = [Target(shift[tiles[n], place], target.ratio) for n, place in places.items()]
        found = choose(targets, step, chunk, candidate_bits(effort), seed)
        for (n, place), (index, chosen) in zip(places.items(), found, strict=True):
            z[tiles[n], place] = chosen
            for tile, i in zip(tiles[n], index.tolist(), strict=True):
                indices[tile][chunk] = i
    return indices, torch.zeros_like(z).index_copy(1, layout.order, z).double()


def _number_of_chunks(layout: ChunkLayout, step: int, kl: Tensor, bits: int) -> int:
    """Return the fewest chunks at which none is overfull, at most twice as many as the KL requires.

    There are at most as many chunks as dimensions, and as the message can count.

    Args:
        kl: (D,) bits up to and including each place of the scan.
        bits: the KL that a chunk should hold.
    """
    most = min(len(kl), (1 << ESCAPE_BITS) - 1)
    least = min(max(1, -(-int(kl[-1] + 0.5) // bits)), most)
    for number in range(least, min(MOST_CHUNKS_FACTOR * least, most)):
        before = torch.cat([kl.new_zeros(1), kl])[torch.tensor(layout.cuts(step, number))]
        if float(before.diff().max()) <= bits + OVERFULL:
            return number
    return min(MOST_CHUNKS_FACTOR * least, most)


def write_message(
    chain: Chain, effort: int, sent: Sequence[Indices], x: Tensor, real: Tensor, seen: Tensor | None
) -> bytes:
    """Write the message of one image.

    Args:
        sent: the `Indices` of its tiles at each step, as `send_steps` returns them.
        x: (tiles, C, H, W) levels.
        real: (tiles, C, H, W) bool, pixels of the image and not of its padding.
        seen: (tiles, VC, H, W) the evidence of a lossless image in units of the grid; None for a lossy one.
    """
    encoder, plan, levels = RangeEncoder(), chain.plan, chain.reverse.levels
    expected = [Expectation() for _ in x]
    for step, indices in zip(range(chain.num_steps - 1, -1, -1), sent, strict=True):
        expected = write_step(encoder, plan, step, effort, expected, indices)
    if seen is not None:
        values = seen.flatten(1)
        offsets = safe_offsets(values, levels)
        center = centers(values, offsets, levels).view(seen.shape)
        write_grid(encoder, offsets)
        for known, now in walk(tuple(x.shape[1:]), plan.pixels.options.side):
            mixture, chosen = mixture_of(plan.pixels, center, x.long(), known & real, now, real)
            write_pass(encoder, mixture, x[chosen].numpy().astype("int64"))
    return encoder.finish()
