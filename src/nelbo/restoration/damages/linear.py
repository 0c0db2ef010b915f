"""Damages that are linear maps: every draw agrees with the damaged image."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nelbo.errors import ConfigurationError, option
from nelbo.options import known
from nelbo.restoration.damages.damage import ImageDamage, Walk
from nelbo.restoration.damages.names import METHODS
from nelbo.restoration.null_space import held_to, within_range
from nelbo.restoration.operators import Damage
from nelbo.samplers import Sampler


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearDamage(ImageDamage):
    """A damage y = A x_0 that `NullSpace` restores with any sampler.

    Attributes:
        methods: the methods that restore it, the default first.
        method: one of them; the default if None.
    """

    methods: ClassVar[tuple[str, ...]] = ("null-space",)

    method: str | None = None

    def __post_init__(self) -> None:
        if self.chosen_method not in self.methods:
            supported = " and ".join(option("method", name) for name in self.methods)
            raise ConfigurationError(
                f"{option(self.name)} supports {supported} only, got {known(self.chosen_method, METHODS, 'method')!r}; "
                f"remove {option('method')}."
            )

    @property
    def chosen_method(self) -> str:
        """The method, or the default one."""
        return self.method or self.methods[0]

    @property
    @abstractmethod
    def operator(self) -> Damage:
        """A."""

    def walk(self, sampler: Sampler, y: Tensor, steps: int) -> Walk:
        """Return draws from x_T whose every xhat_0 agrees with y; see `ImageDamage.walk`."""
        operator = self.operator
        walker, shape = held_to(sampler, operator, y), operator.inverse(y).shape[1:]
        return Walk(
            steps,
            lambda generators, label: walker.trajectory((len(generators), *shape), generators, label),
            lambda x_0: within_range(operator, y, x_0),
        )
