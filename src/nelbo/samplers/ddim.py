"""DDIM: a chain with adjustable noise. Without noise it is deterministic and can be inverted (Song et al. 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.errors import ConfigurationError, option
from nelbo.samplers.multistep import Coefficients, MultistepSampler
from nelbo.samplers.sampler import Step


@dataclass(frozen=True)
class DDIMSampler(MultistepSampler):
    """The step of Song et al. 2021, eq. 12, with adjustable noise.

    x_{t-1} = sqrt(abar_{t-1}) xhat_0 + sqrt(1 - abar_{t-1} - sigma^2) eps + sigma z.
    sigma^2 is eta^2 betatilde_t. eta = 0 is deterministic; eta = 1 is Algorithm 2 with the variance "fixed-small".
    eps is the noise between x_t and xhat_0. It is computed after the constraints on xhat_0: clipping changes both.

    Attributes:
        eta: share of the noise that is drawn, within 0..1.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise ConfigurationError(f"{option('eta')} must be within 0..1, got {self.eta}.")

    @property
    def draws_noise(self) -> bool:
        """Whether eta is above 0."""
        return self.eta > 0

    @property
    def first_order(self) -> Coefficients:
        """Eq. 12 with eps = (x_t - sqrt(abar_t) xhat_0) / sqrt(1 - abar_t)."""
        schedule = self.reverse.schedule
        variance = self.eta**2 * schedule.posterior_variance
        kept = (torch.roll(schedule.noise_variance, 1) - variance).clamp(min=0).sqrt() / schedule.noise_stddev
        x_0 = torch.roll(schedule.signal, 1) - kept * schedule.signal
        return Coefficients(kept, x_0, torch.zeros_like(kept), variance.sqrt())

    @torch.no_grad()
    def invert(self, x_0: Tensor, label: ConditionLike | None = None, refinements: int = 0) -> Iterator[Step]:
        """Walk up from data x_0 (B, ...) to the x_T from which DDIM with eta = 0 returns to x_0; yields t = 1..T.

        A step down is x_{t-1} / sqrt(abar_{t-1}) = x_t / sqrt(abar_t) - (sigma_t - sigma_{t-1}) eps(x_t, t). Each step
        up solves this equation for x_t by fixed-point iteration: it starts from x_{t-1} scaled to time t, without new
        noise, and takes `refinements` + 1 network calls. Smaller steps make the inversion more accurate. More
        refinements do so too, if the step is short enough for the iteration to contract, that is, if
        (sigma_t - sigma_{t-1}) |d eps / dy| < 1. Each `Step` holds the xhat_0 of the last call.

        Raises:
            ConfigurationError: eta is not 0, or `refinements` is negative.
        """
        if self.eta != 0:
            raise ConfigurationError(
                f"inversion needs {option('eta', 0)}, got {self.eta}: noise that was drawn cannot be recovered."
            )
        if refinements < 0:
            raise ConfigurationError(f"`refinements` must be 0 or more, got {refinements}.")
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
