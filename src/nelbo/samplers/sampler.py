"""What every sampler is: a walk down the chain that can be watched, and whose last place is the sample."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from nelbo.diffusion import ReverseProcess
from nelbo.randomness import Generators


@dataclass(frozen=True)
class Step:
    """A place on the way down: x_t (B, ...), and the xhat_0 seen from it. At t = 0 both are the sample."""

    t: int
    x_t: Tensor
    x_0: Tensor


@dataclass(frozen=True)
class Sampler(ABC):
    """Draws from a reverse process; use `reverse.schedule.strided` for fewer steps."""

    reverse: ReverseProcess

    @abstractmethod
    def trajectory(self, shape: Sequence[int], generator: Generators, label: Tensor | None = None) -> Iterator[Step]:
        """Walk from x_T ~ N(0, I) of `shape` (B, C, H, W) to x_0, with `label` int64 (B,) for a conditional network.

        Yields a `Step` for t = T, ..., 1 as soon as its xhat_0 is known, and one for t = 0: T calls of the network.
        """

    def sample(self, shape: Sequence[int], generator: Generators, label: Tensor | None = None) -> Tensor:
        """The last item of `trajectory`: data x_0 of `shape`."""
        for step in self.trajectory(shape, generator, label):
            last = step
        return last.x_0
