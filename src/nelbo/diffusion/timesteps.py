"""Distributions of t for training: uniform (Algorithm 1), stratified over the batch, or by importance."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class TimestepDraw:
    """A draw of t for a batch.

    Attributes:
        t: (B,) int64 within 1..T.
        weight: (B,) the weight that makes a weighted mean of losses unbiased for uniform t: 1 / (T p_t).
    """

    t: Tensor
    weight: Tensor


class Timesteps(Protocol):
    """A distribution of t over 1..T, which may adapt to the losses.

    Examples:
        Small t twice as often as large t:

        >>> import torch
        >>> from nelbo.diffusion import TimestepDraw, UniformTimesteps
        >>> class EarlyTimesteps(UniformTimesteps):
        ...     def draw(self, num, generator):
        ...         p = torch.ones(self.num_steps)
        ...         p[: self.num_steps // 2] = 2
        ...         index = torch.multinomial(p, num, replacement=True, generator=generator)
        ...         return TimestepDraw(index + 1, p.mean() / p[index])
        >>> draw = EarlyTimesteps(1000).draw(10_000, torch.Generator().manual_seed(0))
        >>> sorted(set(draw.weight.tolist())), round(float(draw.weight.mean()), 1)
        ([0.75, 1.5], 1.0)
    """

    num_steps: int

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Draw `num` steps with their weights, on the CPU."""

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Adapt to the unweighted losses (B,) at t (B,)."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that a resumed training run needs to draw the same t as an unbroken one."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""


@dataclass
class UniformTimesteps:
    """t ~ Uniform{1..T}, independently for each example (Algorithm 1, line 3)."""

    num_steps: int

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Draw independent uniform steps (Algorithm 1, line 3), with weights of 1."""
        return TimestepDraw(torch.randint(1, self.num_steps + 1, (num,), generator=generator), torch.ones(num))

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Do nothing: the distribution is fixed."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing: there is no state."""


def stratified_uniforms(num: int, generator: torch.Generator | None) -> Tensor:
    """Draw one uniform number in each of `num` equal strata of [0, 1), (num,) float64."""
    return (torch.arange(num) + torch.rand(num, generator=generator, dtype=torch.float64)) / num


@dataclass
class StratifiedTimesteps(UniformTimesteps):
    """Uniform t with one draw in each of B equal strata of 1..T: the same expectation with a lower variance."""

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Draw one step in each stratum, with weights of 1."""
        u = stratified_uniforms(num, generator)
        t = (u * self.num_steps).long().clamp(max=self.num_steps - 1) + 1
        return TimestepDraw(t, torch.ones(num))


@dataclass
class ImportanceTimesteps:
    """t with probability p_t ~ sqrt(E[loss_t^2]), stratified, weight 1 / (T p_t) (Nichol & Dhariwal 2021, eq. 18).

    Attributes:
        num_steps: T.
        bins: the number of equal parts of 1..T over which the second moment is averaged, at most T.
        decay: of the moving average of the second moment.
        floor: the share of the probability that is uniform, so that no t has a probability near 0.
        second_moment: (bins,) the moving average of loss^2.
        seen: (bins,) the total weight in that average; 0 for a bin without a loss so far.
    """

    num_steps: int
    bins: int = 100
    decay: float = 0.99
    floor: float = 0.1
    second_moment: Tensor = field(init=False)
    seen: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.bins = min(self.bins, self.num_steps)
        self.second_moment = torch.zeros(self.bins, dtype=torch.float64)
        self.seen = torch.zeros(self.bins, dtype=torch.float64)

    def bin_of(self, t: Tensor) -> Tensor:
        """Return the bin of each t (B,)."""
        return (t - 1) * self.bins // self.num_steps

    def probabilities(self) -> Tensor:
        """Return the probability of t = 1..T, (T,) float64; uniform until every bin has had a loss."""
        index = self.bin_of(torch.arange(1, self.num_steps + 1))
        if bool((self.seen == 0).any()):
            return torch.full((self.num_steps,), 1 / self.num_steps, dtype=torch.float64)
        weights = (self.second_moment / self.seen).sqrt()[index]
        if float(weights.sum()) == 0:
            weights = torch.ones_like(weights)
        return (1 - self.floor) * weights / weights.sum() + self.floor / self.num_steps

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Draw steps by the inverse of the cumulative distribution at stratified uniform numbers."""
        p = self.probabilities()
        t = torch.searchsorted(p.cumsum(0), stratified_uniforms(num, generator), right=True)
        t = t.clamp(max=self.num_steps - 1)
        return TimestepDraw(t + 1, (1 / (self.num_steps * p[t])).float())

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Move the average of each bin towards the mean squared loss in that bin, if the batch has any there."""
        index, squared = self.bin_of(t), loss.double() ** 2
        count = torch.zeros_like(self.seen).index_add_(0, index, torch.ones_like(squared))
        total = torch.zeros_like(self.seen).index_add_(0, index, squared)
        visited = count > 0
        keep = torch.where(visited, self.decay, 1.0).double()
        mean = total / count.clamp(min=1)
        self.second_moment = keep * self.second_moment + (1 - keep) * mean
        self.seen = keep * self.seen + (1 - keep) * visited

    def state_dict(self) -> dict[str, Tensor]:
        """Return the moving averages."""
        return {"second_moment": self.second_moment, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        self.second_moment, self.seen = state["second_moment"].clone(), state["seen"].clone()
