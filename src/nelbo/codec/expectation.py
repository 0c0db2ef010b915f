"""The expected number of chunks of a tile's next step, which sender and receiver compute in integers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    """The ratio of chunks to expected KL in a tile's steps so far, which is expected to continue.

    Attributes:
        chunks: running count of chunks.
        units: running expected KL, in units of 1/256 bit; 1 before the first step.
    """

    chunks: int = 1
    units: int = 1

    def of(self, units: int, chunk_units: int) -> int:
        """Return the expected number of chunks, at least 1, of a step of `units` expected KL, `chunk_units` in each."""
        if self.units == 1:
            return max(1, -(-units // chunk_units))
        return max(1, (2 * units * self.chunks + self.units) // (2 * self.units))

    def after(self, chunks: int, units: int) -> "Expectation":
        """Return the expectation after a step of `units` expected KL took `chunks`; the weight of the past halves."""
        if self.units == 1:
            return Expectation(chunks, units)
        return Expectation((self.chunks + 1) // 2 + chunks, (self.units + 1) // 2 + units)


def folded(surprise: int) -> int:
    """Map 0, -1, 1, -2, 2, ... to 0, 1, 2, 3, 4, ..."""
    return 2 * surprise if surprise >= 0 else -2 * surprise - 1


def unfolded(symbol: int) -> int:
    """Return the inverse of `folded`."""
    return symbol // 2 if symbol % 2 == 0 else -(symbol + 1) // 2
