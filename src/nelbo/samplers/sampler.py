"""The contract of every sampler: a walk from x_t down to x_0 that yields each step."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import ReverseProcess
from nelbo.display import Brief
from nelbo.randomness import Generators, standard_normal


@dataclass(frozen=True)
class Step(Brief):
    """One step of a walk: x_t (B, ...) and the xhat_0 predicted from it. At t = 0 both are the sample x_0."""

    t: int
    x_t: Tensor
    x_0: Tensor


@dataclass(frozen=True)
class Sampler(Brief, ABC):
    """A method that draws samples from a reverse process. For fewer steps, use `reverse.schedule.strided`.

    A subclass is a frozen dataclass. It implements `walk`, declares its own options as fields after `reverse`, and
    overrides `uses_variance`, `draws_noise`, `calls_for` and `steps_for` where the defaults do not hold.

    Attributes:
        uses_variance: whether the walk reads the variance of the reverse process.

    Examples:
        A network that predicts zero noise, sampled in 10 of the 1000 steps:

        >>> import torch
        >>> from nelbo.diffusion import NoiseSchedule, ReverseProcess
        >>> from nelbo.samplers import DDIMSampler
        >>> schedule = NoiseSchedule.linear().strided(10)
        >>> sampler = DDIMSampler(ReverseProcess(lambda x_t, t: torch.zeros_like(x_t), schedule))
        >>> x_0 = sampler.sample((2, 3, 8, 8), torch.Generator().manual_seed(0))
        >>> tuple(x_0.shape), sampler.calls
        ((2, 3, 8, 8), 10)
        >>> [step.t for step in sampler.trajectory((2, 3, 8, 8), torch.Generator().manual_seed(0))]
        [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    """

    uses_variance: ClassVar[bool] = False

    reverse: ReverseProcess

    @classmethod
    def own_options(cls) -> tuple[str, ...]:
        """Return the names of the options that this sampler has, such as "eta" for DDIM."""
        return tuple(field.name for field in fields(cls) if field.name != "reverse")

    @property
    def draws_noise(self) -> bool:
        """Whether a walk with these options draws noise after its start. If not, x_0 is a function of x_t."""
        return False

    @classmethod
    def calls_for(cls, steps: int) -> int:
        """Return the number of network calls for a walk of `steps` steps from x_T to x_0: by default one a step."""
        return steps

    @classmethod
    def steps_for(cls, calls: int) -> int:
        """Return the largest number of steps that takes at most `calls` network calls (1 or more)."""
        return calls

    @property
    def calls(self) -> int:
        """Number of network calls from x_T to x_0."""
        return self.calls_for(self.reverse.schedule.num_steps)

    @abstractmethod
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: ConditionLike | None = None) -> Iterator[Step]:
        """Draw x_0 from p_theta(x_0|x_t), starting at x_t (B, C, H, W) of step t (0..T of the schedule).

        Yields a `Step` for each of t, t-1, ..., 1 as soon as its xhat_0 is known, and a last one for t = 0.

        Args:
            generator: one generator for the batch, or one for each example.
            label: int64 (B,) class numbers or a `nelbo.condition.Condition`, for a conditional network.
        """

    def trajectory(
        self, shape: Sequence[int], generator: Generators, label: ConditionLike | None = None
    ) -> Iterator[Step]:
        """Draw x_T ~ N(0, I) of `shape` (B, C, H, W) and `walk` from there down to x_0: `calls` network calls."""
        table = self.reverse.schedule.alphas_bar
        x_T = standard_normal(shape, generator, torch.empty(0, device=table.device))
        yield from self.walk(x_T, self.reverse.schedule.num_steps, generator, label)

    def sample(self, shape: Sequence[int], generator: Generators, label: ConditionLike | None = None) -> Tensor:
        """Return the x_0 at the end of `trajectory`: data of `shape`."""
        return end_of(self.trajectory(shape, generator, label))


def end_of(walk: Iterator[Step]) -> Tensor:
    """Return the x_0 at the end of a walk. Only one step is in memory at a time."""
    for step in walk:
        last = step
    return last.x_0
