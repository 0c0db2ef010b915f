"""RePaint: missing pixels are sampled together with the known ones, and resampled until they agree.

The method is that of Lugmayr et al. 2022.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import ForwardProcess
from nelbo.errors import ConfigurationError, ShapeError, option
from nelbo.randomness import Generators, standard_normal
from nelbo.samplers import Sampler, Step


@dataclass(frozen=True, eq=False)
class RePaintSampler(Sampler):
    """Algorithm 1 of Lugmayr et al. 2022 with the jumps of its appendix, over any stride of a chain.

    A step draws x_{t-1} from p_theta(x_{t-1}|x_t) where pixels are missing and from q(x_{t-1}|x_0) where they are
    known. The two draws are independent, so they do not agree at first. Therefore the walk jumps back up after some
    steps and goes down again.
    A jump from t - j to t is one draw of q(x_t|x_{t-j}), whose beta follows from the ratio of alphas_bar (the authors'
    pseudo-code has beta_{t-1} there). The known pixels of the final x_0 are bit for bit those that were given.

    More resamplings come closer to p(x_0|known) but never reach it exactly, because the known pixels of x_t are noisy.

    Attributes:
        known: the image as data (1, C, H, W) or (B, C, H, W); its missing pixels may have any value, also NaN.
        kept: bool (H, W), (C, H, W) or (B, C, H, W), true where a pixel is known.
        jump: j, the number of steps in a jump.
        resamplings: r, how often each stretch of j steps is sampled in total; 1 makes no jumps.
    """

    uses_variance: ClassVar[bool] = True

    known: Tensor
    kept: Tensor
    jump: int = 10
    resamplings: int = 10

    def __post_init__(self) -> None:
        _check(self.jump, self.resamplings)
        if self.kept.dtype != torch.bool or self.kept.shape != self.known.shape[-self.kept.ndim :]:
            raise ShapeError(
                f"a mask must be bool and of the image's shape {tuple(self.known.shape[1:])}, got {self.kept.dtype} "
                f"{tuple(self.kept.shape)}."
            )

    @property
    def draws_noise(self) -> bool:
        """Always: at each jump and at each step except the last."""
        return True

    @property
    def calls(self) -> int:
        """T + (r - 1) j floor((T - 1) / j) network calls."""
        steps = self.reverse.schedule.num_steps
        return steps + (self.resamplings - 1) * self.jump * ((steps - 1) // self.jump)

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: ConditionLike | None = None) -> Iterator[Step]:
        """Walk down from x_t; see `Sampler.walk`. t rises at a jump.

        Yields one step for each network call, and a last one for t = 0.
        """
        kept, known = self.kept.to(x_t.device), self.known.to(x_t)
        for here, there in pairwise(visits(t, self.jump, self.resamplings)):
            if there > here:
                x_t = self._risen(x_t, here, there, generator)
                continue
            at = torch.full((len(x_t),), here, device=x_t.device)
            prediction = self.reverse.predict(x_t, at, label)
            yield Step(here, x_t, prediction.x_0)
            drawn = self.reverse.transition_of(prediction, x_t, at)
            if there == 0:
                x_t = torch.where(kept, known, drawn.mean)
            else:
                z = standard_normal(x_t.shape, generator, x_t)  # each pixel is either known or missing: one z suffices
                fresh = self.reverse.forward_process.sample(known.expand_as(x_t), at - 1, z)
                x_t = torch.where(kept, fresh, drawn.mean + drawn.stddev * z)
        yield Step(0, x_t, x_t)

    def _risen(self, x: Tensor, low: int, high: int, generator: Generators) -> Tensor:
        """Draw from q(x_high|x_low): one step of the stride that keeps only these two steps and T."""
        schedule = self.reverse.schedule
        stride = schedule.strided(sorted({low, high, schedule.num_steps}))
        risen = ForwardProcess(stride).step(x, torch.full((len(x),), 2, device=x.device))
        return risen.mean + risen.stddev * standard_normal(x.shape, generator, x)


def visits(num_steps: int, jump: int, resamplings: int) -> list[int]:
    """Return the values of t that a walk from T to 0 visits: T, T - 1, ..., with jumps up from 1, 1 + j, 1 + 2j, ...

    A jump of j steps is one move. There are `resamplings` - 1 jumps from each of these t with t + j <= T, as in the
    authors' own code.

    Raises:
        ConfigurationError: `jump` or `resamplings` below 1.
    """
    _check(jump, resamplings)
    left = {place: resamplings - 1 for place in range(1, num_steps - jump + 1, jump)}
    place, path = num_steps, [num_steps]
    while place > 0:
        place -= 1
        path.append(place)
        if left.get(place, 0) > 0:
            left[place] -= 1
            place += jump
            path.append(place)
    return path


def _check(jump: int, resamplings: int) -> None:
    for name, value in (("jump", jump), ("resamplings", resamplings)):
        if value < 1:
            raise ConfigurationError(f"{option(name)} must be at least 1, got {value}.")
