"""Too few pixels: an image that was made smaller is enlarged (super-resolution)."""

from dataclasses import dataclass
from typing import ClassVar

from nelbo.errors import ConfigurationError, option
from nelbo.restoration.damages.linear import LinearDamage
from nelbo.restoration.operators import Average, Damage


@dataclass(frozen=True, eq=False)
class UpscaleDamage(LinearDamage):
    """An image whose every pixel is the mean of a square of the model's pixels. The means come back up to rounding.

    Attributes:
        upscale: the side of the square in pixels, 2 or more.
    """

    name: ClassVar[str] = "upscale"

    upscale: int

    @property
    def operator(self) -> Damage:
        """The map to the means of squares."""
        return Average(self.upscale)

    def expected_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape of the small image.

        Raises:
            ConfigurationError: the squares do not divide the model's images, or are single pixels.
        """
        channels, height, width = shape
        factor = self.upscale
        if factor < 2 or height % factor or width % factor:
            possible = [str(n) for n in range(2, min(height, width) + 1) if height % n == width % n == 0]
            raise ConfigurationError(
                f"{option('upscale')} must be at least 2 and divide both sides of the model's images, {height} x "
                f"{width}, got {factor}; possible: {', '.join(possible) or 'none'}."
            )
        return channels, height // factor, width // factor
