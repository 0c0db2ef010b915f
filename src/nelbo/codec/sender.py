"""Algorithm 3: the sender turns tiles into messages, from coarse to fine.

The sender runs the chain down from its beginning, which every receiver knows. At each step it picks, chunk by chunk, a
candidate for x_s ~ q(x_s|x_t, x_0) among those of p_theta(x_s|x_t), and continues from the sample that the receiver
will have. After the last step it encodes x_0 itself, pixel by pixel.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from nelbo.codec.chain import SharedChain
from nelbo.codec.channel import Target, choose
from nelbo.codec.chunks import ChunkLayout, candidate_bits, chunk_bits
from nelbo.codec.expectation import Expectation
from nelbo.codec.grid import centers, safe_offsets
from nelbo.codec.message import ESCAPE_BITS, Indices, write_grid, write_pass, write_step
from nelbo.codec.pixel_passes import PixelPass
from nelbo.codec.range_coder import NARROW, WIDE, RangeEncoder
from nelbo.progress import Progress

OVERFULL = 1.0  # bits by which a chunk may exceed its size before the sender adds a chunk
MOST_CHUNKS_FACTOR = 2


def send_steps(
    chain: SharedChain, tiles: Tensor, effort: int, seed: int, progress: Progress | None
) -> tuple[list[list[list[int]]], Tensor]:
    """Simulate the channel for every step of the chain (Algorithm 3).

    Args:
        tiles: (B, C, H, W) uint8 levels.
        effort: 1..9, see `chunk_bits`.
        seed: of the sender's own draws; the receiver does not need it.

    Returns:
        For each step, from the noisiest on, the `Indices` of the B tiles; and x_1 as the receiver has it.

    Raises:
        NonFiniteError: the network's output is NaN or infinite.
    """
    x, sent = chain.beginning(len(tiles), tuple(tiles.shape[1:])), []
    for t in range(chain.num_steps + 1, 1, -1):
        prediction = chain.predictions(x, t)
        target = chain.target(prediction, x, t, tiles)
        indices, z = _send_step(chain.plan.layout, target, t - 2, effort, seed)
        x = chain.step(prediction, x, t, z.view(x.shape))
        sent.append(indices)
        if progress is not None:
            progress(chain.num_steps + 2 - t, chain.num_steps)
    return sent, x


def _send_step(
    layout: ChunkLayout, target: Target, step: int, effort: int, seed: int
) -> tuple[list[list[int]], Tensor]:
    """Choose a candidate for each chunk of each tile: their indices, and z (B, D) float64."""
    target = target.of(slice(None), layout.order)
    # a float32 logarithm: the numbers of chunks, and so the bytes of a file, depend on its last digit
    kl = target.kl().div(torch.log(torch.tensor(2.0))).cumsum(1)  # bits, over the scan
    numbers = [_number_of_chunks(layout, step, total, chunk_bits(effort)) for total in kl]
    z, indices = torch.zeros_like(target.shift), [[0] * number for number in numbers]
    tiles = {number: [i for i, n in enumerate(numbers) if n == number] for number in sorted(set(numbers))}
    cuts = {number: layout.cuts(step, number) for number in tiles}
    for chunk in range(max(numbers)):
        places = {n: slice(cuts[n][chunk], cuts[n][chunk + 1]) for n in tiles if n > chunk}
        places = {n: place for n, place in places.items() if place.start < place.stop}
        if not places:
            continue
        targets = [target.of(tiles[n], place) for n, place in places.items()]
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


def write_messages(
    chain: SharedChain,
    effort: int,
    sent: Sequence[Indices],
    tiles: Tensor,
    reals: Sequence[Tensor],
    last: tuple[Tensor, Tensor] | None,
    progress: Progress | None = None,
) -> list[bytes]:
    """Write the messages of images.

    Args:
        sent: the `Indices` of all tiles at each step, as `send_steps` returns them.
        tiles: (B, C, H, W) levels of all images in order.
        reals: for each image, (tiles, C, H, W) bool, its pixels and not those of its padding.
        last: x_1 (B, C, H, W) and `SharedChain.evidence` of lossless images; None for lossy ones.
        progress: called after each pass of pixels.
    """
    encoders, sizes, first = (
        [RangeEncoder(WIDE if chain.exact else NARROW) for _ in reals],
        [len(real) for real in reals],
        0,
    )
    for encoder, size in zip(encoders, sizes, strict=True):
        expected = [Expectation()] * size
        for step, indices in zip(range(chain.num_steps - 1, -1, -1), sent, strict=True):
            own = indices[first : first + size]
            expected = write_step(encoder, chain.plan, step, effort, expected, own)
        first += size
    if last is not None:
        _write_pixels(encoders, sizes, chain, tiles.long(), torch.cat(list(reals)), *last, progress)
    return [encoder.finish() for encoder in encoders]


def _write_pixels(
    encoders: Sequence[RangeEncoder],
    sizes: Sequence[int],
    chain: SharedChain,
    x: Tensor,
    real: Tensor,
    x_1: Tensor,
    center: Tensor,
    progress: Progress | None,
) -> None:
    """Write the exact pixels of all images pass by pass, and before them the grid if the evidence must be rounded."""
    if not chain.exact:
        values = center.flatten(1)
        offsets = safe_offsets(values, chain.levels)
        center, first = centers(values, offsets, chain.levels).view(center.shape), 0
        for encoder, size in zip(encoders, sizes, strict=True):
            write_grid(encoder, offsets[first : first + size])
            first += size
    for number in range(len(chain.passes)):
        together = PixelPass.of(chain, number, center, x_1, x, real)
        center = together.center
        for encoder, own, levels in zip(encoders, together.divided(sizes), x.split(list(sizes)), strict=True):
            write_pass(encoder, own.mixture, levels[own.chosen].numpy(), fine=chain.exact)
        if progress is not None:
            progress(number + 1, len(chain.passes))
