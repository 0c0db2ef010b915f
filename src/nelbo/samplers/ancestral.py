"""Algorithm 2: draw each x_{t-1} from p_theta(x_{t-1}|x_t)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.randomness import Generators, standard_normal
from nelbo.samplers.sampler import Sampler, Step


@dataclass(frozen=True)
class AncestralSampler(Sampler):
    """Ancestral sampling (Algorithm 2): x_{t-1} = mu_theta(x_t, t) + sigma_t z. At t = 1 the mean is returned."""

    uses_variance: ClassVar[bool] = True

    @property
    def draws_noise(self) -> bool:
        """Always: one draw at each step except the last."""
        return True

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: ConditionLike | None = None) -> Iterator[Step]:
        """Walk down from x_t; see `Sampler.walk`."""
        for step in range(t, 0, -1):
            at = torch.full((len(x_t),), step, device=x_t.device)
            prediction = self.reverse.predict(x_t, at, label)
            yield Step(step, x_t, prediction.x_0)
            transition = self.reverse.transition_of(prediction, x_t, at)
            if step == 1:
                x_t = transition.mean
            else:
                x_t = transition.mean + transition.stddev * standard_normal(x_t.shape, generator, x_t)
        yield Step(0, x_t, x_t)
