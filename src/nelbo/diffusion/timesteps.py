"""How t is drawn for training: uniformly (Algorithm 1), stratified over the batch, or by importance."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class TimestepDraw:
    """t (B,) int64 within 1..T, and the weight (B,) that keeps a weighted mean of losses unbiased for uniform t."""

    t: Tensor
    weight: Tensor


class Timesteps(Protocol):
    """A distribution over t."""

    num_steps: int

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """`num` steps and their weights, on the processor."""

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Learn from per-example losses (unweighted) seen at t."""

    def state_dict(self) -> dict[str, Tensor]:
        """What must be saved for the draws to go on unchanged."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""


@dataclass
class UniformTimesteps:
    """t ~ Uniform{1..T}, independently for each example (Algorithm 1, line 3)."""

    num_steps: int

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Independent uniform steps, weights 1."""
        return TimestepDraw(torch.randint(1, self.num_steps + 1, (num,), generator=generator), torch.ones(num))

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Nothing to learn."""

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing to save."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing to load."""


def stratified_uniforms(num: int, generator: torch.Generator | None) -> Tensor:
    """(num,) float64 in [0, 1), one in each of `num` equal strata: uniform one by one, evenly spread together."""
    return (torch.arange(num) + torch.rand(num, generator=generator, dtype=torch.float64)) / num


@dataclass
class StratifiedTimesteps(UniformTimesteps):
    """Uniform t with one draw in each of B equal strata of 1..T: the same mean, a lower variance."""

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Evenly spread uniform steps, weights 1."""
        u = stratified_uniforms(num, generator)
        t = (u * self.num_steps).long().clamp(max=self.num_steps - 1) + 1
        return TimestepDraw(t, torch.ones(num))


@dataclass
class ImportanceTimesteps:
    """t drawn in proportion to sqrt(E[loss_t^2]), stratified, weighted 1 / (T p_t) (Nichol & Dhariwal 2021, eq. 18).

    The second moment is tracked over `bins` equal stretches of 1..T as a moving average; `floor` of the probability is
    spread uniformly so that no step is forgotten.
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
        """The stretch that each t (B,) falls in."""
        return (t - 1) * self.bins // self.num_steps

    def probabilities(self) -> Tensor:
        """(T,) the probability of t = 1..T, float64; uniform until every stretch has been seen."""
        stretch = self.bin_of(torch.arange(1, self.num_steps + 1))
        if bool((self.seen == 0).any()):
            return torch.full((self.num_steps,), 1 / self.num_steps, dtype=torch.float64)
        weights = (self.second_moment / self.seen).sqrt()[stretch]
        if float(weights.sum()) == 0:
            weights = torch.ones_like(weights)
        return (1 - self.floor) * weights / weights.sum() + self.floor / self.num_steps

    def draw(self, num: int, generator: torch.Generator | None) -> TimestepDraw:
        """Steps by the inverse of the cumulative probabilities at evenly spread uniforms."""
        p = self.probabilities()
        t = torch.searchsorted(p.cumsum(0), stratified_uniforms(num, generator), right=True)
        t = t.clamp(max=self.num_steps - 1)
        return TimestepDraw(t + 1, (1 / (self.num_steps * p[t])).float())

    def update(self, t: Tensor, loss: Tensor) -> None:
        """Move the average of each stretch seen towards the squared losses seen there."""
        stretch, squared = self.bin_of(t), loss.double() ** 2
        count = torch.zeros_like(self.seen).index_add_(0, stretch, torch.ones_like(squared))
        total = torch.zeros_like(self.seen).index_add_(0, stretch, squared)
        visited = count > 0
        keep = torch.where(visited, self.decay, 1.0).double()
        mean = total / count.clamp(min=1)
        self.second_moment = keep * self.second_moment + (1 - keep) * mean
        self.seen = keep * self.seen + (1 - keep) * visited

    def state_dict(self) -> dict[str, Tensor]:
        """The moving averages."""
        return {"second_moment": self.second_moment, "seen": self.seen}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
        self.second_moment, self.seen = state["second_moment"].clone(), state["seen"].clone()
