"""A stack of symbols in integers, by asymmetric numeral systems (Duda 2009): what is pushed last is popped first.

Many lanes work at once, each on a number of 64 bits, and share one stack of 32-bit words. A symbol is an interval of
2^24. Popping with another distribution than that of the symbols on the stack draws from it: the bits are not lost,
because pushing the draw returns them (bits back: Hinton & van Camp 1993; Townsend, Bird & Barber 2019).
"""

from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nelbo.errors import CodecError
from nelbo.probability.integer_gaussian import MASS_BITS

LANES = 64
WORD_BITS = 32
LEAST_HEAD = np.uint64(1 << 31)  # between two symbols, a lane's number is at least this and below 2^63
_MASK = np.uint64((1 << MASS_BITS) - 1)
_WORD = np.uint64((1 << WORD_BITS) - 1)
_MASS, _SHIFT = np.uint64(MASS_BITS), np.uint64(WORD_BITS)
_ROOM = np.uint64(31 - MASS_BITS + WORD_BITS)  # a number below mass << _ROOM has room for one more symbol


class Exhausted(CodecError):
    """The stack has too few words."""


class Symbols(Protocol):
    """Distributions of n symbols in integers, such as `nelbo.probability.IntegerGaussian`."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice) -> Self: ...
    def interval(self, value: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the mass below each symbol, and its own mass; a mass of 1 is 2^24."""

    def find(self, mass: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the symbol in whose interval each mass lies."""


class Stack:
    """Symbols on a stack.

    Args:
        words: the words at the bottom of the stack, uint32. The first lanes begin with one each.
    """

    def __init__(self, words: NDArray[np.uint32]) -> None:
        if len(words) < LANES:
            raise Exhausted(f"a stack begins with at least {LANES} words, got {len(words)}.")
        self._heads = words[:LANES].astype(np.uint64) | LEAST_HEAD << np.uint64(1)
        self._words, self._size = words[LANES:].copy(), len(words) - LANES

    def push(self, symbols: Symbols, value: NDArray[np.int64]) -> None:
        """Push values (n,), so that `pop` returns them in this order."""
        low, mass = (each.astype(np.uint64) for each in symbols.interval(value))
        if len(mass) and not mass.all():
            raise CodecError("a symbol without mass cannot be encoded.")
        for start in reversed(range(0, len(value), LANES)):
            lanes = slice(start, start + LANES)
            self._push(low[lanes], mass[lanes])

    def _push(self, low: NDArray[np.uint64], mass: NDArray[np.uint64]) -> None:
        heads = self._heads[: len(mass)]
        full = heads >= mass << _ROOM
        self._append((heads[full] & _WORD).astype(np.uint32))
        heads[full] >>= _SHIFT
        quotient, rest = np.divmod(heads, mass)
        heads[:] = (quotient << _MASS) + rest + low

    def pop(self, symbols: Symbols) -> NDArray[np.int64]:
        """Pop values (n,).

        Raises:
            Exhausted: the stack has too few words.
        """
        found = [self._pop(symbols[start : start + LANES]) for start in range(0, len(symbols), LANES)]
        return np.concatenate([*found, np.empty(0, np.int64)])

    def _pop(self, symbols: Symbols) -> NDArray[np.int64]:
        heads = self._heads[: len(symbols)]
        place = heads & _MASK
        value = symbols.find(place.astype(np.int64))
        low, mass = (each.astype(np.uint64) for each in symbols.interval(value))
        heads[:] = mass * (heads >> _MASS) + place - low
        short = heads < LEAST_HEAD
        heads[short] = heads[short] << _SHIFT | self._take(int(short.sum()))
        return value

    def _append(self, words: NDArray[np.uint32]) -> None:
        end = self._size + len(words)
        if end > len(self._words):
            self._words = np.concatenate([self._words, np.empty(max(end, 1024), np.uint32)])
        self._words[self._size : end] = words
        self._size = end

    def _take(self, num: int) -> NDArray[np.uint64]:
        if num > self._size:
            raise Exhausted("the stack has too few words: the file is damaged, or a chain began with too few.")
        self._size -= num
        return self._words[self._size : self._size + num].astype(np.uint64)

    def to_bytes(self) -> bytes:
        """Return the stack: the words from the bottom up, then the numbers of the lanes."""
        return self._words[: self._size].astype("<u4").tobytes() + self._heads.astype("<u8").tobytes()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Stack":
        """Read the output of `to_bytes`.

        Raises:
            CodecError: it is too short, or a number of a lane is outside its range.
        """
        size = len(content) - 8 * LANES
        if size < 0 or size % 4:
            raise CodecError(f"a stack of {len(content)} bytes is damaged.")
        stack = cls(np.zeros(LANES, np.uint32))
        stack._words, stack._size = np.frombuffer(content, "<u4", size // 4).astype(np.uint32), size // 4
        stack._heads = np.frombuffer(content, "<u8", offset=size).astype(np.uint64)
        if not ((stack._heads >= LEAST_HEAD) & (stack._heads < LEAST_HEAD << _SHIFT)).all():
            raise CodecError("a number of a lane is outside its range: the file is damaged.")
        return stack

    def bottom(self) -> NDArray[np.uint32]:
        """Return the words with which the stack began, if all that was pushed is popped again.

        Raises:
            CodecError: the lanes do not look as at the beginning.
        """
        if not (self._heads >> _SHIFT == 1).all():
            raise CodecError("the stack does not end as it began: the file is damaged.")
        return np.concatenate([(self._heads & _WORD).astype(np.uint32), self._words[: self._size]])


def words_of(content: bytes) -> NDArray[np.uint32]:
    """Return bytes as words; zeros fill the last one."""
    return np.frombuffer(content + bytes(-len(content) % 4), "<u4").astype(np.uint32)
