"""Lost colours: a grey image is coloured."""

from dataclasses import dataclass
from typing import ClassVar

from nelbo.errors import ConfigurationError, option
from nelbo.restoration.damages.linear import LinearDamage
from nelbo.restoration.operators import LUMA, Damage, Grey


@dataclass(frozen=True, eq=False)
class ColourDamage(LinearDamage):
    """A grey image (Rec. 601 luma) of a model in colour. The luma comes back up to rounding."""

    name: ClassVar[str] = "colour"

    @property
    def operator(self) -> Damage:
        """The map from colour to luma."""
        return Grey(LUMA)

    def expected_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return the shape with one channel.

        Raises:
            ConfigurationError: the model's images are not in colour.
        """
        if shape[0] != 3:
            raise ConfigurationError(f"the model's images are grey and have no colours; remove {option('colour')}.")
        return 1, *shape[1:]
