"""The images of more than 8 bits in a set: which values they have, and the range that becomes 0..255."""

import math
from dataclasses import dataclass

from nelbo.data.names import AUTO, FULL, Range
from nelbo.display import counted
from nelbo.errors import option

DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and scanners, whose values are stored in 16 bits


def choice_of_range() -> str:
    """Return how a range is set, to end a sentence about the one that was used."""
    return f"; set another range by {option('range', 'LOW,HIGH')} or {option('range', FULL)}"


@dataclass(frozen=True)
class DeepImages:
    """The images of more than 8 bits in a set.

    Attributes:
        number: how many there are.
        low, high: their smallest and their largest value; for 16-bit colours, bounds of it.
        needed: the largest value that a range for all of them must hold, as far as their depth does not state it.
    """

    number: int = 0
    low: float = math.inf
    high: float = -math.inf
    needed: float = 0

    def including(self, values: Range | None, bits: int) -> "DeepImages":
        """Return the record with one more image, of the `values` and `bits` of its `Decoded`; it may have 8 bits."""
        if values is None:
            return self
        low, high = values
        needed = high if bits >= 16 else (1 << bits) - 1
        return DeepImages(self.number + 1, min(self.low, low), max(self.high, high), max(self.needed, needed))

    @property
    def values(self) -> Range | None:
        """The smallest and the largest value; None if there is no such image."""
        return (self.low, self.high) if self.number else None

    def limits(self, range: Range | str) -> Range | None:
        """Return the values that become 0 and 255 by a range; None for those of the depth of each file.

        "auto" is the smallest depth of `DEPTHS` that holds every value.
        """
        if not isinstance(range, str):
            return range
        bits = next((bits for bits in DEPTHS if self.needed < 1 << bits), DEPTHS[-1])
        return (0, (1 << bits) - 1) if range == AUTO and self.number and bits < DEPTHS[-1] else None

    def note(self, name: str, range: Range | str) -> str:
        """Return how the images of the set `name` became images of 8 bits, in words; "" if there are none."""
        if not self.number:
            return ""
        number = counted(self.number, "image has", "images have")
        limits = self.limits(range)
        low, high = limits or (0, 65535)
        parts = [f"{low:.12g}..{high:.12g}{'' if limits else ', or the range of their depth,'} became 0..255"]
        if self.low < low or self.high > high:
            parts.append("values outside are clipped")
        if self.needed < (high - low) / 4:
            parts.append("the images are dark")
        return f"{name}: {number} more than 8 bits, with values {self.low:.12g} to {self.high:.12g}; {'; '.join(parts)}"
