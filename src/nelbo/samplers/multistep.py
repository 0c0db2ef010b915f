"""Samplers whose every step is a weighted sum of x_t, the last two xhat_0 and noise, with weights from a table."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.randomness import Generators, standard_normal
from nelbo.samplers.sampler import Sampler, Step


@dataclass(frozen=True)
class Coefficients:
    """The weights of x_{t-1} = a x_t + b xhat_0 + c xhat_0' + d z.

    xhat_0 is predicted at t, xhat_0' at t + 1, and z ~ N(0, I). Each weight is a table over t = 0..T in the precision
    of the schedule; entry 0 is not read.

    Attributes:
        x_t, x_0, before, noise: a, b, c and d.
    """

    x_t: Tensor
    x_0: Tensor
    before: Tensor
    noise: Tensor


@dataclass(frozen=True)
class MultistepSampler(Sampler):
    """A sampler with one network call a step, which may reuse the xhat_0 of the previous step."""

    @property
    @abstractmethod
    def first_order(self) -> Coefficients:
        """The weights of a step without history: the first step, and the last, whose x_0 is xhat_0 itself."""

    @property
    def second_order(self) -> Coefficients:
        """The weights of all other steps. They equal `first_order` for a sampler that uses no history."""
        return self.first_order

    @cached_property
    def _tables(self) -> tuple[Coefficients, Coefficients]:
        return self.first_order, self.second_order

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: ConditionLike | None = None) -> Iterator[Step]:
        """Walk down from x_t; see `Sampler.walk`."""
        first, second = self._tables
        before: Tensor | None = None
        for step in range(t, 0, -1):
            at = torch.full((len(x_t),), step, device=x_t.device)
            x_0 = self.reverse.predict(x_t, at, label).x_0
            yield Step(step, x_t, x_0)
            table = first if before is None or step == 1 else second
            x = float(table.x_t[step]) * x_t + float(table.x_0[step]) * x_0
            if before is not None and float(table.before[step]) != 0:
                x = x + float(table.before[step]) * before
            if float(table.noise[step]) != 0:
                x = x + float(table.noise[step]) * standard_normal(x.shape, generator, x)
            x_t, before = x, x_0
        yield Step(0, x_t, x_t)
