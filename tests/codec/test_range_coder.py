"""The range coder: exact round trips, no wasted bytes, and first bytes that decode without the rest."""

import contextlib
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.codec.range_coder import TOTAL, Exhausted, RangeDecoder, RangeEncoder, table_of

tables = st.lists(st.integers(0, 1000), min_size=1, max_size=40).map(table_of)


@st.composite
def streams(draw):
    """Draw symbols, each with its own table."""
    some = draw(st.lists(tables, min_size=1, max_size=60))
    return [(draw(st.integers(0, len(table) - 2)), table) for table in some]


def encoded(stream):
    encoder = RangeEncoder()
    for symbol, table in stream:
        encoder.symbol(symbol, table)
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
        decoder = RangeDecoder(data + padding)
        assert [decoder.symbol(table) for _, table in stream] == [symbol for symbol, _ in stream]


@given(streams(), st.data())
def test_truncated_stream_gives_correct_symbols_then_stops(stream, data):
    content = encoded(stream)
    decoder = RangeDecoder(content[: data.draw(st.integers(0, len(content)))], complete=False)
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
def test_carries_pass_through_full_bytes(symbol):
    # symbol 1 is the last 1/65536 of the range: many of it leave bytes of 0xff, which a later carry can change
    table = [0, TOTAL - 1, TOTAL]
    stream = [(1, table)] * 30 + [(symbol, table)] * 400 + [(1, table)] * 5
    decoder = RangeDecoder(encoded(stream))
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


@given(st.binary(max_size=50), st.lists(tables, max_size=60))
def test_any_bytes_decode_to_valid_symbols(data, some):
    decoder = RangeDecoder(data)
    for table in some:
        assert 0 <= decoder.symbol(table) < len(table) - 1


@settings(max_examples=50)
@given(streams(), st.data())
def test_stream_decodes_in_pieces(stream, data):
    content = encoded(stream)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), min_size=1, max_size=4)))
    decoder, found = RangeDecoder(content[: cuts[0]], complete=False), []
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

    fed = RangeDecoder(content[:cut], complete=False)
    fed.feed(content[cut:end], complete=False)
    assert read(fed) == read(RangeDecoder(content[:end], complete=False))
