"""The range coder: exact round trips, no wasted bytes, and first bytes that decode without the rest."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.codec.range_coder import NARROW, TOTAL, WIDE, Exhausted, RangeDecoder, RangeEncoder, table_of
from nelbo.probability.integer_gaussian import MASS

tables = st.lists(st.integers(0, 1000), min_size=1, max_size=40).map(table_of)


@st.composite
def fine_tables(draw):
    """Draw tables of total 2^24, most of them with symbols of mass 1."""
    inner = draw(st.sets(st.integers(1, MASS - 1) | st.integers(1, 9) | st.integers(MASS - 9, MASS - 1), max_size=40))
    return [0, *sorted(inner), MASS]


@st.composite
def streams(draw):
    """Draw symbols, each with its own table; with the wide range, tables of both totals."""
    width = draw(st.sampled_from([NARROW, WIDE]))
    some = draw(st.lists(tables if width == NARROW else tables | fine_tables(), min_size=1, max_size=60))
    return Stream(width, [(draw(st.integers(0, len(table) - 2)), table) for table in some])


class Stream(list):
    """Symbols and their tables, with the width of their coder."""

    def __init__(self, width, symbols):
        super().__init__(symbols)
        self.width = width


def encoded(stream):
    encoder = RangeEncoder(getattr(stream, "width", NARROW))
    for symbol, table in stream:
        start, end = table[symbol], table[symbol + 1]
        encoder.interval(start, end - start, table[-1].bit_length() - 1)
    return encoder.finish()


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=300))
def test_table_gives_every_symbol_a_share(counts):
    table = table_of(counts)
    assert table[0] == 0 and table[-1] == TOTAL
    assert min(np.diff(table)) >= 1


@given(streams())
def test_symbols_round_trip(stream):
    data = encoded(stream)
    for padding in (b"", b"\0\0"):
        decoder = RangeDecoder(data + padding, width=stream.width)
        assert [decoder.symbol(table) for _, table in stream] == [symbol for symbol, _ in stream]


@given(streams(), st.data())
def test_truncated_stream_gives_correct_symbols_then_stops(stream, data):
    content = encoded(stream)
    cut = data.draw(st.integers(0, len(content)))
    decoder = RangeDecoder(content[:cut], complete=False, width=stream.width)
    for symbol, table in stream:
        try:
            assert decoder.symbol(table) == symbol
        except Exhausted:
            return


def test_more_bytes_give_more_symbols():
    generator = np.random.default_rng(0)
    table = table_of([1] * 16)
    symbols = generator.integers(0, 16, 400).tolist()
    content = encoded([(symbol, table) for symbol in symbols])

    def known(length):
        decoder, found = RangeDecoder(content[:length], complete=False), []
        with pytest.raises(Exhausted):
            for _ in range(len(symbols)):
                found.append(decoder.symbol(table))
        return found

    for length in range(0, len(content), 7):
        found = known(length)
        assert found == symbols[: len(found)]
        assert len(found) >= 2 * length - 3


def test_size_is_the_entropy_plus_at_most_2_bytes():
    generator = np.random.default_rng(1)
    table = table_of([700, 200, 90, 10])
    shares = np.diff(table) / TOTAL
    for length in (1, 10, 100, 5000):
        symbols = generator.choice(4, length, p=shares)
        bits = -sum(math.log2(shares[s]) for s in symbols)
        assert len(encoded([(int(s), table) for s in symbols])) <= bits / 8 + 2


def test_empty_stream_takes_no_bytes():
    assert RangeEncoder().finish() == b""
    encoder = RangeEncoder()
    encoder.interval(0, TOTAL)
    assert encoder.finish() == b""


@pytest.mark.parametrize("symbol", [0, 1])
@pytest.mark.parametrize(("width", "total"), [(NARROW, TOTAL), (WIDE, TOTAL), (WIDE, MASS)])
def test_carries_pass_through_full_bytes(symbol, width, total):
    # symbol 1 is the last part of the range: many of it leave bytes of 0xff, which a later carry can change
    table = [0, total - 1, total]
    stream = Stream(width, [(1, table)] * 30 + [(symbol, table)] * 400 + [(1, table)] * 5)
    decoder = RangeDecoder(encoded(stream), width=width)
    assert [decoder.symbol(t) for _, t in stream] == [s for s, _ in stream]


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**40 - 1)), max_size=30))
def test_plain_bits_round_trip(pairs):
    pairs = [(num, value % 2**num) for num, value in pairs]
    encoder = RangeEncoder()
    for num, value in pairs:
        encoder.bits(value, num)
    decoder = RangeDecoder(encoder.finish())
    assert [decoder.bits(num) for num, _ in pairs] == [value for _, value in pairs]


@given(st.binary(max_size=50), st.lists(tables, max_size=60), st.sampled_from([NARROW, WIDE]))
def test_any_bytes_decode_to_valid_symbols(data, some, width):
    decoder = RangeDecoder(data, width=width)
    for table in some:
        assert 0 <= decoder.symbol(table) < len(table) - 1


@pytest.mark.parametrize(("width", "total"), [(NARROW, TOTAL), (WIDE, MASS)])
def test_damage_never_leaves_the_range(width, total):
    """Beyond the last symbol, the code would grow by a byte with each one that is read."""
    decoder = RangeDecoder(b"\xff" * 5000, width=width)
    for _ in range(1000):
        assert decoder.symbol([0, total - 1, total]) in (0, 1)
        assert decoder._code < decoder._range


@settings(max_examples=50)
@given(streams(), st.data())
def test_stream_decodes_in_pieces(stream, data):
    content = encoded(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=1, max_size=4)))
    decoder, found = RangeDecoder(content[: cuts[0]], complete=False, width=stream.width), []
    pieces = [content[a:b] for a, b in zip(cuts, [*cuts[1:], len(content)], strict=True)]
    for _, table in stream:
        while True:
            try:
                found.append(decoder.symbol(table))
                break
            except Exhausted:
                decoder.feed(pieces.pop(0), complete=not pieces)
    assert found == [symbol for symbol, _ in stream]


@settings(max_examples=50)
@given(streams(), st.data())
def test_fed_decoder_waits_for_no_more_than_a_fresh_one(stream, data):
    content = encoded(stream)
    cut, end = sorted(data.draw(st.tuples(st.integers(0, len(content)), st.integers(0, len(content)))))

    def read(decoder):
        found = 0
        with contextlib.suppress(Exhausted):
            for _, table in stream:
                decoder.symbol(table)
                found += 1
        return found

    fed = RangeDecoder(content[:cut], complete=False, width=stream.width)
    fed.feed(content[cut:end], complete=False)
    assert read(fed) == read(RangeDecoder(content[:end], complete=False, width=stream.width))
