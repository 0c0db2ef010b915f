"""A range coder over integers: whoever knows the same tables reads the same symbols, on any machine.

Martin (1979), with the carry held back as in LZMA. Every symbol is an interval of 2^16; no float is involved. What
comes first in the bytes is what was coded first, so that the beginning of a stream can be read without its end.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PRECISION = 16  # bits of a table's total
TOTAL = 1 << PRECISION
_RANGE, _TOP = 32, 1 << 24  # bits of the range, and the least that it holds between symbols

Table = Sequence[int]  # cumulative: 0 = table[0] < table[1] < ... < table[K] = 2^16


class Exhausted(Exception):
    """The bytes at hand do not determine the next symbol."""


class RangeEncoder:
    """Symbols in, bytes out."""

    def __init__(self) -> None:
        self._low, self._range = 0, (1 << _RANGE) - 1
        self._held, self._full = -1, 0  # the last byte, and how many 0xff after it wait for a carry
        self._bytes = bytearray()

    def interval(self, start: int, size: int) -> None:
        """Code the interval [start, start + size) of 2^16."""
        unit = self._range >> PRECISION
        self._low += unit * start
        self._range = unit * size
        while self._range < _TOP:
            self._range <<= 8
            self._shift()

    def symbol(self, symbol: int, table: Table) -> None:
        """Code one symbol of a cumulative table."""
        self.interval(table[symbol], table[symbol + 1] - table[symbol])

    def intervals(self, starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Code many intervals, in order."""
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            self.interval(start, size)

    def bits(self, value: int, num: int) -> None:
        """Code `num` bits as they are, the highest first."""
        while num > 0:
            part = min(num, PRECISION)
            num -= part
            self.interval(((value >> num) & ((1 << part) - 1)) << (PRECISION - part), 1 << (PRECISION - part))

    def finish(self) -> bytes:
        """The bytes: no more than tell this stream from every other, as zeros are read past their end."""
        for zeros in range(_RANGE, -1, -1):
            low = -(-self._low >> zeros) << zeros
            if low < self._low + self._range:
                break
        self._low = low
        for _ in range(_RANGE // 8 + 1):
            self._shift()
        return bytes(self._bytes).rstrip(b"\0")

    def _shift(self) -> None:
        """Move the top byte of low out, once no carry can reach it any more."""
        byte, carry = (self._low >> 24) & 0xFF, self._low >> _RANGE
        if byte < 0xFF or carry:
            if self._held >= 0:
                self._bytes.append(self._held + carry & 0xFF)
            self._bytes.extend(bytes([0xFF + carry & 0xFF]) * self._full)
            self._held, self._full = byte, 0
        else:
            self._full += 1
        self._low = (self._low & (_TOP - 1)) << 8


class RangeDecoder:
    """Bytes in, symbols out.

    Args:
        data: what `RangeEncoder.finish` gave, or the beginning of it.
        complete: whether nothing is missing. Otherwise reading raises `Exhausted` at the first symbol that the missing
            bytes could change.
    """

    def __init__(self, data: bytes, *, complete: bool = True) -> None:
        self._data, self._place, self._complete = data, 0, complete
        self._range, self._code, self._slack = (1 << _RANGE) - 1, 0, 0  # the missing bytes could add up to slack
        for _ in range(_RANGE // 8):
            self._next()

    def feed(self, more: bytes, *, complete: bool) -> None:
        """Add bytes that have arrived, in the place of those that were missing."""
        missing = max(self._place - len(self._data), 0)
        tail = (more + bytes(missing))[:missing]
        self._code += int.from_bytes(tail, "big")
        still = max(missing - len(more), 0)
        self._data, self._complete = self._data + more, complete
        self._slack = 0 if complete else (1 << 8 * still) - 1

    @property
    def position(self) -> int:
        """Bytes that what was read so far depends on, within 3 of the least."""
        return min(self._place, len(self._data))

    def symbol(self, table: Table) -> int:
        """Read one symbol of a cumulative table."""
        unit = self._range >> PRECISION
        found = bisect_right(table, self._target(self._code, unit), 0, len(table) - 1) - 1
        start, end = table[found], table[found + 1]
        if self._slack and self._target(self._code + self._slack, unit) >= end:
            raise Exhausted
        self._code -= unit * start
        self._range = unit * (end - start)
        while self._range < _TOP:
            self._range <<= 8
            self._next()
        return found

    def symbols(self, tables: NDArray[np.int64], into: list[int]) -> None:
        """Read one symbol of each row of cumulative tables (n, K + 1), appending each to `into` as it is known."""
        for row in tables:
            into.append(self.symbol(row.tolist()))

    def bits(self, num: int) -> int:
        """Read `num` bits as they are."""
        value, before = 0, (self._place, self._range, self._code, self._slack)
        try:
            while num > 0:
                part = min(num, PRECISION)
                num -= part
                value = value << part | self.symbol(range(0, TOTAL + 1, 1 << (PRECISION - part)))
        except Exhausted:
            self._place, self._range, self._code, self._slack = before
            raise
        return value

    @staticmethod
    def _target(code: int, unit: int) -> int:
        return min(code // unit, TOTAL - 1)

    def _next(self) -> None:
        missing = self._place >= len(self._data)
        self._code = self._code << 8 | (0 if missing else self._data[self._place])
        self._slack = self._slack << 8 | (0xFF if missing and not self._complete else 0)
        self._place += 1


def table_of(counts: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """Counts (K,), 0 or more -> the cumulative table nearest to them in which every symbol has at least 1 of 2^16."""
    counts = np.asarray(counts, dtype=np.int64)
    free, total = TOTAL - len(counts), max(int(counts.sum()), 1)
    cumulative = np.concatenate([[0], counts.cumsum()])
    table = cumulative * free // total + np.arange(len(counts) + 1)
    table[-1] = TOTAL
    return [int(value) for value in table]
