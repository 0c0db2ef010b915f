"""What every sampler is: a walk down the chain that can be watched, and whose last place is the sample."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.diffusion import ReverseProcess
from nelbo.randomness import Generators, standard_normal


@dataclass(frozen=True)
class Step:
    """A place on the way down: x_t (B, ...), and the xhat_0 seen from it. At t = 0 both are the sample."""

    t: int
    x_t: Tensor
    x_0: Tensor


@dataclass(frozen=True)
class Sampler(ABC):
    """Draws from a reverse process; use `reverse.schedule.strided` for fewer steps."""

    uses_variance: ClassVar[bool] = False

    reverse: ReverseProcess

    @classmethod
    def calls_for(cls, steps: int) -> int:
        """Calls of the network for so many steps from x_T to x_0: as many, unless a sampler says otherwise."""
        return steps

    @classmethod
    def steps_for(cls, calls: int) -> int:
        """The most steps that so many calls of the network (1 or more) are enough for."""
        return calls

    @property
    def calls(self) -> int:
        """Calls of the network from x_T to x_0."""
        return self.calls_for(self.reverse.schedule.num_steps)

    @abstractmethod
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: Tensor | None = None) -> Iterator[Step]:
        """Go on from x_t (B, C, H, W) at step t of the schedule, 0..T, down to x_0: a draw of p_theta(x_0|x_t).

        Yields a `Step` for t, t-1, ..., 1 as soon as its xhat_0 is known, and one for t = 0.
        `label` is int64 (B,) for a conditional network.
        """

    def trajectory(self, shape: Sequence[int], generator: Generators, label: Tensor | None = None) -> Iterator[Step]:
        """`walk` all the way from x_T ~ N(0, I) of `shape` (B, C, H, W): `calls` calls of the network."""
        table = self.reverse.schedule.alphas_bar
        x_T = standard_normal(shape, generator, torch.empty(0, device=table.device))
        yield from self.walk(x_T, self.reverse.schedule.num_steps, generator, label)

    def sample(self, shape: Sequence[int], generator: Generators, label: Tensor | None = None) -> Tensor:
        """The last item of `trajectory`: data x_0 of `shape`."""
        return end_of(self.trajectory(shape, generator, label))


def end_of(walk: Iterator[Step]) -> Tensor:
    """The x_0 that a walk ends in; only the step at hand is kept."""
    for step in walk:
        last = step
    return last.x_0
