"""The grammar of a message: how each element is written and read, writer and reader side by side.

    message = step ... step                      a lossy image
            | step ... step grid pass ... pass   a lossless image of version 1
            | step ... step pass ... pass        a lossless image of version 2
    step    = the number of chunks of each tile, then each index of each tile
    number  = symbol | escape, 16 bits
    index   = its bit length, the bits below the highest
    grid    = the offset of each block of each tile
    pass    = the level of each of its pixels

`encoder` and `decoder` are a range coder, and every symbol has an integer table. A reader reads an element whole or
not at all, except for a pass, whose pixels it reads one by one. Sections 5 to 7 of docs/format.md specify the elements.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from nelbo.codec.channel_plan import SURPRISES, ChannelPlan
from nelbo.codec.chunks import candidate_bits, chunk_bits, chunk_units
from nelbo.codec.expectation import Expectation, folded, unfolded
from nelbo.codec.grid import BLOCK, OFFSETS
from nelbo.codec.range_coder import PRECISION, RangeDecoder, RangeEncoder, Table, table_of
from nelbo.probability.integer_gaussian import MASS_BITS
from nelbo.probability.logistic import LogisticMixture

ESCAPE, ESCAPE_BITS = SURPRISES - 1, 16
PIECE = 4096  # pixels whose tables are in memory together
WINDOW = 64  # levels around the mean in which most pixels are
OFFSET_SHARE, OFFSET_UNIT = 0.2, 1 << 16

Indices = Sequence[Sequence[int]]
"""One step of one image: for each tile, the index of each chunk; 0 for a chunk without dimensions."""


def write_step(
    encoder: RangeEncoder,
    plan: ChannelPlan,
    step: int,
    effort: int,
    expected: Sequence[Expectation],
    indices: Indices,
) -> list[Expectation]:
    """Write a step, and return the expectation of each tile's next number of chunks.

    Args:
        step: j of the plan, which sends x at steps[j].
        expected: of each tile.
    """
    numbers, units = [len(own) for own in indices], plan.layout.total(step)
    table = plan.number_table()
    for expectation, number in zip(expected, numbers, strict=True):
        _write_number(encoder, table, expectation.of(units, chunk_units(effort)), number)
    table = plan.index_table(chunk_bits(effort), candidate_bits(effort))
    for own in indices:
        for index, full in zip(own, _full(plan, step, len(own)), strict=True):
            if full:
                _write_index(encoder, table, index)
    return [expectation.after(number, units) for expectation, number in zip(expected, numbers, strict=True)]


def read_step(
    decoder: RangeDecoder, plan: ChannelPlan, step: int, effort: int, expected: Sequence[Expectation]
) -> tuple[list[list[int]], list[Expectation]]:
    """Read the output of `write_step`: the indices of each tile, and the expectation of its next number of chunks.

    Raises:
        Exhausted: the bytes at hand do not determine the whole step. Nothing is read.
    """
    units, most = plan.layout.total(step), plan.expected.shape[1]
    with decoder.whole_or_nothing():
        table = plan.number_table()
        numbers = [_read_number(decoder, table, e.of(units, chunk_units(effort))) for e in expected]
        numbers = [min(max(number, 1), most) for number in numbers]  # a damaged message can hold any number
        table = plan.index_table(chunk_bits(effort), candidate_bits(effort))
        indices = [
            [_read_index(decoder, table) if full else 0 for full in _full(plan, step, number)] for number in numbers
        ]
    return indices, [expectation.after(number, units) for expectation, number in zip(expected, numbers, strict=True)]


def _full(plan: ChannelPlan, step: int, number: int) -> list[bool]:
    """Return whether each chunk has dimensions; no index is sent for one without."""
    cuts = plan.layout.cuts(step, number)
    return [cuts[chunk] < cuts[chunk + 1] for chunk in range(number)]


def _write_number(encoder: RangeEncoder, table: Table, expected: int, number: int) -> None:
    symbol = folded(number - expected)
    encoder.symbol(min(symbol, ESCAPE), table)
    if symbol >= ESCAPE:
        encoder.bits(number, ESCAPE_BITS)


def _read_number(decoder: RangeDecoder, table: Table, expected: int) -> int:
    symbol = decoder.symbol(table)
    return decoder.bits(ESCAPE_BITS) if symbol == ESCAPE else expected + unfolded(symbol)


def _write_index(encoder: RangeEncoder, table: Table, index: int) -> None:
    length = index.bit_length()
    rest = max(length - 1, 0)
    encoder.symbol(length, table)
    encoder.bits(index & ((1 << rest) - 1), rest)


def _read_index(decoder: RangeDecoder, table: Table) -> int:
    length = decoder.symbol(table)
    rest = max(length - 1, 0)
    return (1 << rest if length else 0) | decoder.bits(rest)


def write_grid(encoder: RangeEncoder, offsets: Sequence[Sequence[int]]) -> None:
    """Write the offset of each block of each tile; see `nelbo.codec.grid`."""
    table = _offset_table()
    for own in offsets:
        for offset in own:
            encoder.symbol(offset, table)


def read_grid(decoder: RangeDecoder, num_tiles: int, dims: int) -> list[list[int]]:
    """Read the output of `write_grid`, for tiles of `dims` values each.

    Raises:
        Exhausted: the bytes at hand do not determine the whole grid. Nothing is read.
    """
    table, blocks = _offset_table(), -(-dims // BLOCK)
    with decoder.whole_or_nothing():
        return [[decoder.symbol(table) for _ in range(blocks)] for _ in range(num_tiles)]


def _offset_table() -> list[int]:
    """Return the table of an offset: small ones are likely, because the sender tries them from 0 up."""
    return table_of([*(int(OFFSET_UNIT * OFFSET_SHARE**i) for i in range(OFFSETS)), 1])


def write_pass(encoder: RangeEncoder, mixture: LogisticMixture, levels: NDArray[np.int64], *, fine: bool) -> None:
    """Write the levels (n,) of the pixels of one pass, given their mixtures.

    Args:
        fine: with masses in units of 2^-24, and not of 2^-16.
    """
    table = mixture.fine if fine else mixture.cumulative
    low, high = (table(levels[:, None] + d)[:, 0] for d in (0, 1))
    encoder.intervals(low, high - low, MASS_BITS if fine else PRECISION)


def read_pass(decoder: RangeDecoder, mixture: LogisticMixture, first: int, *, fine: bool) -> list[int]:
    """Read the output of `write_pass` from pixel `first` on: as many levels as the bytes at hand determine."""
    found: list[int] = []
    for start in range(first, len(mixture), PIECE):
        part = mixture[start : start + PIECE]
        rows, lows = part.windows(WINDOW, fine=fine)
        total = 1 << (MASS_BITS if fine else PRECISION)
        found += decoder.symbols(rows, lows, total, partial(_whole_table, part, fine))
        if len(found) < start - first + len(part):
            break
    return found


def _whole_table(mixture: LogisticMixture, fine: bool, pixel: int) -> list[int]:
    """Return the table of one pixel."""
    table: list[int] = mixture[pixel : pixel + 1].tables(fine=fine)[0].tolist()
    return table
