"""The grammar of a message: each reader returns what its writer wrote, and waits while bytes are missing."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.codec.channel_plan import MIDDLE
from nelbo.codec.chunks import EFFORTS, candidate_bits, chunk_bits, chunk_units
from nelbo.codec.expectation import Expectation, folded, unfolded
from nelbo.codec.grid import BLOCK, OFFSETS
from nelbo.codec.message import (
    ESCAPE,
    ESCAPE_BITS,
    read_grid,
    read_pass,
    read_step,
    write_grid,
    write_pass,
    write_step,
)
from nelbo.codec.range_coder import NARROW, WIDE, Exhausted, RangeDecoder, RangeEncoder
from nelbo.errors import ConfigurationError
from nelbo.probability.logistic import LogisticMixture
from tests.codec.plans import random_plan

PLAN = random_plan()
DIMS = PLAN.expected.shape[1]


def indices_of(numbers: list[int], step: int, effort: int, seed: int = 0) -> list[list[int]]:
    """Draw the indices of tiles with these numbers of chunks; a chunk without dimensions has index 0."""
    generator, most = np.random.default_rng(seed), 1 << candidate_bits(effort)
    found = []
    for number in numbers:
        cuts = PLAN.layout.cuts(step, number)
        drawn = [int(2 ** generator.uniform(0, np.log2(most))) - 1 for _ in range(number)]
        found.append([index if a < b else 0 for index, a, b in zip(drawn, cuts[:-1], cuts[1:], strict=True)])
    return found


def written(step: int, effort: int, expected: list[Expectation], indices: list[list[int]]) -> bytes:
    encoder = RangeEncoder()
    write_step(encoder, PLAN, step, effort, expected, indices)
    return encoder.finish()


@given(st.lists(st.integers(1, DIMS), min_size=1, max_size=4), st.sampled_from(EFFORTS), st.integers(0, 99))
def test_steps_round_trip(numbers, effort, seed):
    encoder, expected, sent = RangeEncoder(), [Expectation() for _ in numbers], []
    for step in (1, 0):
        sent.append(indices_of(numbers, step, effort, seed + step))
        expected = write_step(encoder, PLAN, step, effort, expected, sent[-1])
    decoder, again = RangeDecoder(encoder.finish()), [Expectation() for _ in numbers]
    for step, indices in zip((1, 0), sent, strict=True):
        found, again = read_step(decoder, PLAN, step, effort, again)
        assert found == indices
    assert again == expected


@pytest.mark.parametrize("effort", EFFORTS)
def test_smallest_and_largest_index_round_trip(effort):
    largest = (1 << candidate_bits(effort)) - 1
    for index in (0, 1, 2, largest - 1, largest):
        content = written(1, effort, [Expectation()], [[index]])
        assert read_step(RangeDecoder(content), PLAN, 1, effort, [Expectation()])[0] == [[index]]


@pytest.mark.parametrize("effort", [0, 10])
def test_efforts_outside_1_to_9_are_refused(effort):
    with pytest.raises(ConfigurationError, match=rf"effort must be within 1\.\.9, got {effort}"):
        chunk_bits(effort)


def test_chunk_sizes_follow_the_effort():
    assert [chunk_bits(effort) for effort in (1, 9)] == [8, 16]
    assert [candidate_bits(effort) for effort in (1, 9)] == [10, 18]
    assert chunk_units(5) == 12 * 256


def test_index_table_is_relative_to_the_chunk():
    shares = np.diff(PLAN.index_table(12, 14))
    expected = PLAN.index_counts[MIDDLE - 12 : MIDDLE + 3].double()
    assert len(shares) == 15
    assert shares / 65536 == pytest.approx((expected / expected.sum()).numpy(), abs=1e-3)


@pytest.mark.parametrize(("surprise", "escaped"), [(15, False), (-15, False), (16, True), (-16, True)])
def test_large_surprises_are_escaped(surprise, escaped):
    """Symbol 31 is the escape: the surprise -16 has this symbol itself, and 16 has a larger one."""
    plan = random_plan((1, 10, 10))
    expectation = Expectation(chunks=50, units=plan.layout.total(1))
    number = 50 + surprise
    encoder = RangeEncoder()
    write_step(encoder, plan, 1, 5, [expectation], [[0] * number])
    decoder = RangeDecoder(encoder.finish())
    assert (decoder.symbol(plan.number_table()) == ESCAPE) == escaped
    if escaped:
        assert decoder.bits(ESCAPE_BITS) == number
    (found,), _ = read_step(RangeDecoder(encoder.finish()), plan, 1, 5, [expectation])
    assert len(found) == number


@pytest.mark.parametrize(("said", "read"), [(0, 1), (1, 1), (DIMS, DIMS), (DIMS + 1, DIMS), (65535, DIMS)])
def test_damaged_numbers_are_held_within_1_and_dims(said, read):
    encoder = RangeEncoder()
    encoder.symbol(ESCAPE, PLAN.number_table())
    encoder.bits(said, ESCAPE_BITS)
    (found,), (expectation,) = read_step(RangeDecoder(encoder.finish()), PLAN, 1, 5, [Expectation()])
    assert len(found) == read and expectation.chunks == read


def test_chunks_without_dimensions_have_no_index():
    cuts = PLAN.layout.cuts(1, DIMS)
    empty = [a == b for a, b in pairwise(cuts)]
    assert any(empty) and not all(empty)
    indices = indices_of([DIMS], 1, 5)[0]
    wrong = [999 if without else index for index, without in zip(indices, empty, strict=True)]
    content = written(1, 5, [Expectation()], [wrong])
    assert content == written(1, 5, [Expectation()], [indices])
    assert read_step(RangeDecoder(content), PLAN, 1, 5, [Expectation()])[0] == [indices]


@settings(max_examples=30)
@given(st.integers(0, 99), st.data())
def test_truncated_step_reads_nothing_until_it_is_whole(seed, data):
    expected = [Expectation(), Expectation()]
    indices = indices_of([3, 5], 1, 5, seed)
    content = written(1, 5, expected, indices)
    cut = data.draw(st.integers(0, len(content) - 1))
    decoder = RangeDecoder(content[:cut], complete=False)
    try:
        found, _ = read_step(decoder, PLAN, 1, 5, expected)
    except Exhausted:
        decoder.feed(content[cut:], complete=True)
        found, _ = read_step(decoder, PLAN, 1, 5, expected)
    assert found == indices


@pytest.mark.parametrize(("dims", "blocks"), [(1, 1), (BLOCK, 1), (BLOCK + 1, 2)])
def test_grids_round_trip(dims, blocks):
    generator = np.random.default_rng(0)
    offsets = [[int(generator.integers(0, OFFSETS + 1)) for _ in range(blocks)] for _ in range(3)]
    offsets[0][0] = OFFSETS
    encoder = RangeEncoder()
    write_grid(encoder, offsets)
    content = encoder.finish()
    assert read_grid(RangeDecoder(content), 3, dims) == offsets
    decoder = RangeDecoder(content[:2], complete=False)
    with pytest.raises(Exhausted):
        read_grid(decoder, 3, dims)
    decoder.feed(content[2:], complete=True)
    assert read_grid(decoder, 3, dims) == offsets


def mixture(num: int, levels: int = 17) -> LogisticMixture:
    generator = np.random.default_rng(1)
    rows = generator.integers(-900, 900, (num, 3, 3))
    return LogisticMixture.read(rows, generator.integers(0, 2 * (levels - 1) + 1, num), levels)


VERSIONS = pytest.mark.parametrize(("fine", "width"), [(False, NARROW), (True, WIDE)])


@VERSIONS
def test_passes_round_trip(fine, width):
    levels = np.array([0, 16, *np.random.default_rng(0).integers(0, 17, 30)])
    encoder = RangeEncoder(width)
    write_pass(encoder, mixture(32), levels, fine=fine)
    assert read_pass(RangeDecoder(encoder.finish(), width=width), mixture(32), 0, fine=fine) == levels.tolist()


@VERSIONS
def test_truncated_pass_continues_at_the_next_pixel(fine, width):
    levels = np.random.default_rng(0).integers(0, 17, 32)
    encoder = RangeEncoder(width)
    write_pass(encoder, mixture(32), levels, fine=fine)
    content = encoder.finish()
    for cut in range(len(content)):
        decoder = RangeDecoder(content[:cut], complete=False, width=width)
        found = read_pass(decoder, mixture(32), 0, fine=fine)
        assert found == levels[: len(found)].tolist() and len(found) < 32
        decoder.feed(content[cut:], complete=True)
        assert found + read_pass(decoder, mixture(32), len(found), fine=fine) == levels.tolist()


@pytest.mark.parametrize("number", range(-20, 20))
def test_unfolded_inverts_folded(number):
    assert unfolded(folded(number)) == number and folded(number) >= 0


def test_expectation_follows_earlier_steps():
    expectation = Expectation()
    assert expectation.of(6000, 3000) == 2
    expectation = expectation.after(6, 6000)  # three times as many as expected
    assert expectation.of(2000, 3000) == 2
    assert expectation.of(10, 3000) == 1


def test_expectation_rounds_as_the_specification_says():
    assert [Expectation().of(units, 3000) for units in (1, 3000, 3001)] == [1, 1, 2]
    first = Expectation().after(3, 201)
    assert first == Expectation(3, 201)
    assert [first.of(units, 3000) for units in (100, 101, 167, 168)] == [1, 2, 2, 3]
    assert first.after(5, 301) == Expectation(2 + 5, 101 + 301)
