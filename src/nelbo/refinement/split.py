"""A level of K > 256 as a coarse level and digits: p(x_0) = p(coarse level) p(digits | coarse level), without loss.

The coarse level has the upper 8 bits. Diffusion models it. Each digit has up to 4 of the lower bits, the upper ones
first, and cuts the interval of levels in which a pixel is known to lie into equal parts.
"""

from dataclasses import dataclass

from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.networks.digit_network import MOST_BITS

COARSE_BITS, MOST_LEVELS = 8, 1 << 16


@dataclass(frozen=True)
class LevelSplit:
    """The split of K levels.

    Attributes:
        levels: K, 257..65,536.

    Raises:
        ConfigurationError: another number of levels.
    """

    levels: int

    def __post_init__(self) -> None:
        if not 1 << COARSE_BITS < self.levels <= MOST_LEVELS:
            raise ConfigurationError(f"{self.levels} levels are not split; expected 257 to {MOST_LEVELS:,}.")

    @property
    def bits(self) -> int:
        """Number of bits of all digits of a level together."""
        return (self.levels - 1).bit_length() - COARSE_BITS

    @property
    def digits(self) -> tuple[int, ...]:
        """The bits of each digit, in the order in which they become known."""
        number = -(-self.bits // MOST_BITS)
        return tuple(self.bits // number + (place < self.bits % number) for place in range(number))

    @property
    def base(self) -> int:
        """The largest number of values that a digit has."""
        return 1 << max(self.digits)

    @property
    def coarse_levels(self) -> int:
        """The number of coarse levels, 129..256."""
        return (self.levels - 1 >> self.bits) + 1

    def shift(self, stage: int) -> int:
        """Return how many lower bits are unknown when digit `stage` is about to become known."""
        return self.bits - sum(self.digits[:stage])

    def coarse(self, levels: Tensor) -> Tensor:
        """Return the coarse levels of levels of any shape, in their dtype."""
        return levels >> self.bits

    def digit(self, levels: Tensor, stage: int) -> Tensor:
        """Return digit `stage` of levels of any shape."""
        return levels >> self.shift(stage + 1) & (1 << self.digits[stage]) - 1

    def middle(self, levels: Tensor, stage: int) -> Tensor:
        """Return twice the middle of the interval in which levels lie of which `stage` digits are known, int64."""
        shift = self.shift(stage)
        return (levels.long() >> shift << shift + 1) + (1 << shift) - 1
