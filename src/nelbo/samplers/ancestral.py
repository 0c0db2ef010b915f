"""Algorithm 2: draw every x_{t-1} from p_theta(x_{t-1}|x_t)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.randomness import Generators, standard_normal
from nelbo.samplers.sampler import Sampler, Step


@dataclass(frozen=True)
class AncestralSampler(Sampler):
    """The paper's sampler: x_{t-1} = mu_theta(x_t, t) + sigma_t z, and the mean alone at t = 1."""

    @torch.no_grad()
    def trajectory(self, shape: Sequence[int], generator: Generators, label: Tensor | None = None) -> Iterator[Step]:
        """See `Sampler.trajectory`."""
        num_steps = self.reverse.schedule.num_steps
        device = self.reverse.schedule.alphas_bar.device
        x_t = standard_normal(shape, generator, torch.empty(0, device=device))
        for step in range(num_steps, 0, -1):
            t = torch.full((len(x_t),), step, device=device)
            prediction = self.reverse.predict(x_t, t, label)
            yield Step(step, x_t, prediction.x_0)
            transition = self.reverse.transition_of(prediction, x_t, t)
            if step == 1:
                x_t = transition.mean
            else:
                x_t = transition.mean + transition.stddev * standard_normal(shape, generator, x_t)
        yield Step(0, x_t, x_t)
