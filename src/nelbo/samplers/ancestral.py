"""Algorithm 2: draw every x_{t-1} from p_theta(x_{t-1}|x_t)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.randomness import Generators, standard_normal
from nelbo.samplers.sampler import Sampler, Step


@dataclass(frozen=True)
class AncestralSampler(Sampler):
    """The paper's sampler: x_{t-1} = mu_theta(x_t, t) + sigma_t z, and the mean alone at t = 1."""

    uses_variance: ClassVar[bool] = True

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: Tensor | None = None) -> Iterator[Step]:
        """See `Sampler.walk`."""
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
