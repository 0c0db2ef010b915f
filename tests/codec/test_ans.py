"""The stack: what is pushed is popped, in the size of its information; draws from it are returned."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nelbo.codec.ans import LANES, Exhausted, Stack, words_of
from nelbo.errors import CodecError
from nelbo.probability.integer_gaussian import MASS, IntegerGaussian


def start(num: int = 4000, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, num, dtype=np.uint32)


def gaussian(num: int, seed: int, everywhere: bool = True) -> IntegerGaussian:
    generator = np.random.default_rng(seed)
    return IntegerGaussian(generator.integers(-2000, 2000, num), generator.integers(0, 40, num), everywhere)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 10**6)), max_size=6))
def test_what_is_pushed_is_popped_in_reverse(pushes):
    stack = Stack(start(200))
    before = stack.to_bytes()
    pushed = []
    for num, seed in pushes:
        symbols = gaussian(num, seed)
        values = np.random.default_rng(seed + 1).integers(-128, 128, num)
        stack.push(symbols, values)
        pushed.append((symbols, values))
    stack = Stack.from_bytes(stack.to_bytes())
    for symbols, values in reversed(pushed):
        np.testing.assert_array_equal(stack.pop(symbols), values)
    assert stack.to_bytes() == before
    np.testing.assert_array_equal(stack.bottom(), start(200))


def test_size_is_the_information():
    symbols, stack = gaussian(100_000, 0), Stack(start(LANES))
    values = symbols.find(np.random.default_rng(1).integers(0, MASS, len(symbols)))
    before = len(stack.to_bytes())
    stack.push(symbols, values)
    information = -np.log2(symbols.interval(values)[1] / MASS).sum()
    assert 8 * (len(stack.to_bytes()) - before) == pytest.approx(information, rel=5e-3)


def test_popping_draws_from_the_distribution():
    """Chi-square of 64 * 400 draws from random words, at a false-alarm rate of 1e-4, seed 0."""
    num = 64 * 400
    symbols = IntegerGaussian(np.full(num, 10), np.full(num, 8), False)
    drawn = Stack(start(20_000)).pop(symbols)
    places = np.arange(-6, 7)
    masses = IntegerGaussian(np.full(13, 10), np.full(13, 8), False).interval(places)[1] / MASS
    counts = np.array([(drawn == place).sum() for place in places])
    expected = num * masses
    kept = expected > 20
    statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
    freedom = kept.sum() - 1
    cube = 1 - 2 / (9 * freedom) + 3.719 * math.sqrt(2 / (9 * freedom))  # quantile 1 - 1e-4 (Wilson & Hilferty)
    assert statistic < freedom * cube**3


def test_bits_come_back():
    stack, q, p = Stack(start()), gaussian(5000, 2, everywhere=False), gaussian(5000, 3)
    before = stack.to_bytes()
    drawn = stack.pop(q)
    stack.push(p, drawn)
    np.testing.assert_array_equal(stack.pop(p), drawn)
    stack.push(q, drawn)
    assert stack.to_bytes() == before


def test_too_few_words_are_reported():
    with pytest.raises(Exhausted):
        Stack(start(LANES - 1))
    with pytest.raises(Exhausted, match="too few words"):
        Stack(start(LANES)).pop(gaussian(10_000, 0))


def test_symbols_without_mass_are_refused():
    with pytest.raises(CodecError, match="without mass"):
        Stack(start()).push(IntegerGaussian(np.array([0]), np.array([0]), False), np.array([100]))


@pytest.mark.parametrize("content", [b"", bytes(8 * LANES), bytes(8 * LANES + 3), b"\xff" * 8 * LANES])
def test_damaged_stacks_are_refused(content):
    with pytest.raises(CodecError):
        Stack.from_bytes(content)


def test_words_of_bytes():
    np.testing.assert_array_equal(words_of(b"\x01\0\0\0\x02"), [1, 2])
