"""DDIM: the chain whose noise can be turned down to none, and which can then be walked both ways (Song et al. 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.samplers.multistep import Coefficients, MultistepSampler
from nelbo.samplers.sampler import Step


@dataclass(frozen=True)
class DDIMSampler(MultistepSampler):
    """x_{t-1} = sqrt(abar_{t-1}) xhat_0 + sqrt(1 - abar_{t-1} - sigma^2) eps + sigma z (Song et al. 2021, eq. 12).

    sigma^2 is eta^2 betatilde_t: eta = 0 is deterministic, and eta = 1 is Algorithm 2 with the variance "fixed-small".
    The noise eps is that between x_t and xhat_0 as it is held, so that a clipped xhat_0 changes both.

    Attributes:
        eta: within 0..1.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ConfigurationError(f"--eta must be within 0..1, got {self.eta}.")

    @property
    def first_order(self) -> Coefficients:
        """Eq. 12 with eps = (x_t - sqrt(abar_t) xhat_0) / sqrt(1 - abar_t)."""
        schedule = self.reverse.schedule
        variance = self.eta**2 * schedule.posterior_variance
        kept = (torch.roll(schedule.noise_variance, 1) - variance).clamp(min=0).sqrt() / schedule.noise_stddev
        x_0 = torch.roll(schedule.signal, 1) - kept * schedule.signal
        return Coefficients(kept, x_0, torch.zeros_like(kept), variance.sqrt())

    @torch.no_grad()
    def invert(self, x_0: Tensor, label: Tensor | None = None, refinements: int = 0) -> Iterator[Step]:
        """Walk up from data x_0 (B, ...) to the x_T from which eta = 0 comes down to it, t = 1..T.

        A step down is x_{t-1} / sqrt(abar_{t-1}) = x_t / sqrt(abar_t) - (sigma_t - sigma_{t-1}) eps(x_t, t). Each step
        up solves it for x_t by fixed points, from an x_t without new noise: `refinements` + 1 calls of the network a
        step. The smaller the steps, the closer the way down returns; and the more refinements, where a step is so short
        that the fixed point contracts: (sigma_t - sigma_{t-1}) |d eps / dy| < 1. Each xhat_0 is that of the last call.

        Raises:
            ConfigurationError: eta is not 0, or fewer than no refinements.
        """
        if self.eta != 0:
            raise ConfigurationError(f"only eta = 0 can be inverted, not {self.eta}: drawn noise is forgotten.")
        if refinements < 0:
            raise ConfigurationError(f"there cannot be {refinements} refinements; give 0 or more.")
        schedule, x_t = self.reverse.schedule, x_0
        for step in range(1, schedule.num_steps + 1):
            at = torch.full((len(x_0),), step, device=x_0.device)
            signal, rise = float(schedule.signal[step]), float(schedule.sigma[step] - schedule.sigma[step - 1])
            clean = x_t / float(schedule.signal[step - 1])
            x_t = signal * clean
            for _ in range(refinements + 1):
                prediction = self.reverse.predict(x_t, at, label)
                x_t = signal * (clean + rise * prediction.noise)
            yield Step(step, x_t, prediction.x_0)
