"""The contract of a damage: which image it leaves, and how draws of the undamaged image are made."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Generator, Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import ReverseProcess
from nelbo.samplers import Sampler, Step

STEPS = 50  # by default; in a comparison on 16 images, 46 to 96 network calls gave the same quality


@dataclass(frozen=True)
class Walk:
    """How draws of an undamaged image are made.

    Attributes:
        steps: the largest number of steps that the walk yields before t = 0, for progress reports.
        start: maps a generator for each draw, and labels int64 (B,), a condition or None, to the steps of a walk.
        finish: maps the x_0 at the end of the walk to the restored images, as data.
    """

    steps: int
    start: Callable[[list[Generator], ConditionLike | None], Iterator[Step]]
    finish: Callable[[Tensor], Tensor] = lambda x_0: x_0


@dataclass(frozen=True, eq=False)
class ImageDamage(ABC):
    """What happened to an image, and how a model restores it.

    A subclass is a frozen dataclass. Its fields are options of `nelbo.runs.RestoreOptions` with the same names, first
    the one that gives the damage, such as `noise`. It is registered in `registry`, and its name in `names`.

    Attributes:
        name: the option of `RestoreOptions` that gives this damage.
        starts_midway: whether the walk enters the whole chain in the middle, instead of going down from x_T over a
            stride.

    Examples:
        An image with noise of 25 grey levels, and two draws of the undamaged image:

        >>> import torch
        >>> from nelbo.diffusion import NoiseSchedule, ReverseProcess
        >>> from nelbo.restoration import NoiseDamage
        >>> from nelbo.samplers import AncestralSampler
        >>> model = ReverseProcess(lambda x_t, t: torch.zeros_like(x_t), NoiseSchedule.linear())
        >>> damage, y = NoiseDamage(25.0), torch.zeros(1, 1, 8, 8)
        >>> damage.expected_shape((1, 8, 8))
        (1, 8, 8)
        >>> walk = damage.walk(AncestralSampler(model), y, steps=4)
        >>> [tuple(step.x_t.shape) for step in walk.start([torch.Generator(), torch.Generator()], None)][-1]
        (2, 1, 8, 8)
    """

    name: ClassVar[str]
    starts_midway: ClassVar[bool] = False

    @classmethod
    def own_options(cls) -> tuple[str, ...]:
        """Return the names of the options that this damage has, such as "noise" or "method"."""
        return tuple(field.name for field in fields(cls))

    @property
    def default_steps(self) -> int:
        """Number of steps of the walk where the caller gives none."""
        return STEPS

    def expected_shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Return (C, H, W) of the damaged image of a model whose images have this shape.

        Raises:
            ConfigurationError: the model's images cannot have this damage.
            ShapeError: an option of the damage has another size than the model's images.
        """
        return shape

    @abstractmethod
    def walk(self, sampler: Sampler, y: Tensor, steps: int) -> Walk:
        """Return how the undamaged image is drawn.

        Args:
            sampler: a sampler of the model: over the whole chain if the damage starts midway, else over `steps` steps.
            y: the damaged image (1, C, H, W), as data.
            steps: number of steps, 1..T.

        Raises:
            ConfigurationError: a sampler or an option that does not fit the damage.
        """

    def mean(self, reverse: ReverseProcess, y: Tensor, label: ConditionLike | None) -> Tensor | None:
        """Return E[x_0|y] (1, C, H, W), as data, if one network call computes it; else None.

        Args:
            reverse: the model over its whole chain.
            y: the damaged image (1, C, H, W), as data.
            label: int64 (1,) class number or a condition of one example, for a conditional network.
        """
        return None
