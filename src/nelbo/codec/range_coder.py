"""A range coder over integers: a decoder with the same tables reads the same symbols on every machine.

The method is Martin's (1979), with carries held back as in LZMA. Every symbol is an interval of 2^16, or of 2^24 with a
range of 40 bits, and no float is involved. The bytes come in the order of the symbols, so that the first bytes can be
decoded without the rest.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from nelbo.probability.integer_tables import TOTAL

PRECISION = TOTAL.bit_length() - 1  # bits of a table's total
NARROW, WIDE = 32, 40  # bits of the range, for totals of up to 2^16 and up to 2^24

Table = Sequence[int]  # cumulative: 0 = table[0] < table[1] < ... < table[K] = 2^16 or 2^24


class Exhausted(Exception):
    """The bytes at hand do not determine the next symbol."""


class RangeEncoder:
    """Symbols in, bytes out.

    Args:
        width: bits of the range, `NARROW` or `WIDE`. Between two symbols it is at least 2^(width - 8).
    """

    def __init__(self, width: int = NARROW) -> None:
        self._width, self._top = width, 1 << width - 8
        self._low, self._range = 0, (1 << width) - 1
        self._held, self._full = -1, 0  # the last byte, and the number of 0xff after it; a carry may still change them
        self._bytes = bytearray()

    def interval(self, start: int, size: int, precision: int = PRECISION) -> None:
        """Encode the interval [start, start + size) of 2^precision."""
        unit = self._range >> precision
        self._low += unit * start
        self._range = unit * size
        while self._range < self._top:
            self._range <<= 8
            self._shift()

    def symbol(self, symbol: int, table: Table) -> None:
        """Encode one symbol of a cumulative table."""
        self.interval(table[symbol], table[symbol + 1] - table[symbol])

    def intervals(self, starts: NDArray[np.int64], sizes: NDArray[np.int64], precision: int = PRECISION) -> None:
        """Encode intervals (n,) of 2^precision in order."""
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            self.interval(start, size, precision)

    def bits(self, value: int, num: int) -> None:
        """Encode the lowest `num` bits of `value` without a table, the highest first."""
        while num > 0:
            part = min(num, PRECISION)
            num -= part
            self.interval(((value >> num) & ((1 << part) - 1)) << (PRECISION - part), 1 << (PRECISION - part))

    def finish(self) -> bytes:
        """Return the fewest bytes that determine every symbol when zeros follow them."""
        for zeros in range(self._width, -1, -1):
            low = -(-self._low >> zeros) << zeros
            if low < self._low + self._range:
                break
        self._low = low
        for _ in range(self._width // 8 + 1):
            self._shift()
        return bytes(self._bytes).rstrip(b"\0")

    def _shift(self) -> None:
        """Move the top byte out of `_low`; output it once no carry can change it."""
        byte, carry = (self._low >> self._width - 8) & 0xFF, self._low >> self._width
        if byte < 0xFF or carry:
            if self._held >= 0:
                self._bytes.append(self._held + carry & 0xFF)
            self._bytes.extend(bytes([0xFF + carry & 0xFF]) * self._full)
            self._held, self._full = byte, 0
        else:
            self._full += 1
        self._low = (self._low & (self._top - 1)) << 8


class RangeDecoder:
    """Bytes in, symbols out.

    Args:
        data: the output of `RangeEncoder.finish`, or its first bytes.
        complete: whether `data` is the whole output. Otherwise reading raises `Exhausted` at the first symbol that the
            missing bytes could change.
        width: see `RangeEncoder`.
    """

    def __init__(self, data: bytes, *, complete: bool = True, width: int = NARROW) -> None:
        self._top = 1 << width - 8
        self._data, self._place, self._complete = data, 0, complete
        # the missing bytes can raise the code by at most `_slack`
        self._range, self._code, self._slack = (1 << width) - 1, 0, 0
        for _ in range(width // 8):
            self._next()

    def feed(self, more: bytes, *, complete: bool) -> None:
        """Add bytes that have arrived after `data`."""
        missing = max(self._place - len(self._data), 0)
        tail = (more + bytes(missing))[:missing]
        self._code += int.from_bytes(tail, "big")
        still = max(missing - len(more), 0)
        self._data, self._complete = self._data + more, complete
        self._slack = 0 if complete else (1 << 8 * still) - 1

    @property
    def position(self) -> int:
        """Number of bytes that the symbols read so far depend on, up to 4 more than the fewest."""
        return min(self._place, len(self._data))

    def symbol(self, table: Table) -> int:
        """Read one symbol of a cumulative table.

        Raises:
            Exhausted: the bytes at hand do not determine it. Nothing is read.
        """
        unit, target = self._target(table[-1])
        found = bisect_right(table, target, 0, len(table) - 1) - 1
        self._take(unit, table[-1], table[found], table[found + 1])
        return found

    def symbols(
        self, rows: NDArray[np.int64], first: NDArray[np.int64], total: int, whole: Callable[[int], Table]
    ) -> list[int]:
        """Read one symbol of each of n cumulative tables, as many as the bytes at hand determine.

        Args:
            rows: (n, m + 1), of each table the part where the symbol probably is.
            first: (n,) the symbols at which the parts begin.
            total: of all tables.
            whole: `whole(i)` is the whole table i, for a symbol that is elsewhere.
        """
        found: list[int] = []
        try:
            for i, (table, low) in enumerate(zip(rows.tolist(), first.tolist(), strict=True)):
                unit, target = self._target(total)
                if not table[0] <= target < table[-1]:
                    table, low = whole(i), 0
                place = bisect_right(table, target, 0, len(table) - 1) - 1
                self._take(unit, total, table[place], table[place + 1])
                found.append(low + place)
        except Exhausted:
            pass
        return found

    def _target(self, total: int) -> tuple[int, int]:
        """Return the size of a unit of a table with this total, and the unit in which the code lies."""
        unit = self._range >> total.bit_length() - 1
        self._code = min(self._code, unit * total - 1)  # only damage leads beyond, and would never end there
        return unit, self._code // unit

    def _take(self, unit: int, total: int, start: int, end: int) -> None:
        """Read the symbol between start and end of a table.

        Raises:
            Exhausted: the bytes at hand do not determine it. Nothing is read.
        """
        if self._slack and min((self._code + self._slack) // unit, total - 1) >= end:
            raise Exhausted
        self._code -= unit * start
        self._range = unit * (end - start)
        while self._range < self._top:
            self._range <<= 8
            self._next()

    def bits(self, num: int) -> int:
        """Read `num` bits that were encoded without a table.

        Raises:
            Exhausted: the bytes at hand do not determine all of them. Nothing is read.
        """
        value = 0
        with self.whole_or_nothing():
            while num > 0:
                part = min(num, PRECISION)
                num -= part
                value = value << part | self.symbol(range(0, TOTAL + 1, 1 << (PRECISION - part)))
        return value

    @contextmanager
    def whole_or_nothing(self) -> Iterator[None]:
        """Read the symbols of the block, or none of them: `Exhausted` returns the decoder to where the block began."""
        before = self._place, self._range, self._code, self._slack
        try:
            yield
        except Exhausted:
            self._place, self._range, self._code, self._slack = before
            raise

    def _next(self) -> None:
        missing = self._place >= len(self._data)
        self._code = self._code << 8 | (0 if missing else self._data[self._place])
        self._slack = self._slack << 8 | (0xFF if missing and not self._complete else 0)
        self._place += 1


def table_of(counts: Sequence[int] | NDArray[np.int64]) -> list[int]:
    """Return the cumulative table of counts (K,) >= 0 in which every symbol has at least 1 of 2^16."""
    counts = np.asarray(counts, dtype=np.int64)
    free, total = TOTAL - len(counts), max(int(counts.sum()), 1)
    cumulative = np.concatenate([[0], counts.cumsum()])
    table = cumulative * free // total + np.arange(len(counts) + 1)
    table[-1] = TOTAL
    return [int(value) for value in table]
