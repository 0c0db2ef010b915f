"""An unknown damage: the image is partly diffused and drawn again (image to image)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nelbo.restoration.damages.damage import ImageDamage, Walk
from nelbo.restoration.editing import edit
from nelbo.samplers import Sampler


@dataclass(frozen=True, eq=False)
class StrengthDamage(ImageDamage):
    """An image that is wrong in an unknown way: a sketch, a collage, artefacts.

    Attributes:
        strength: the share of the chain to go back, above 0 and at most 1.
    """

    name: ClassVar[str] = "strength"
    starts_midway: ClassVar[bool] = True

    strength: float

    def walk(self, sampler: Sampler, y: Tensor, steps: int) -> Walk:
        """Return draws by `edit`; see `ImageDamage.walk`."""
        return Walk(
            steps,
            lambda generators, label: edit(
                sampler, y.expand(len(generators), -1, -1, -1), self.strength, generators, steps, label
            ),
        )
