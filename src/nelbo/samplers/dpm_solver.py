"""DPM-Solver++: the probability-flow ODE, solved exactly except for xhat_0, which is extrapolated (Lu et al. 2022)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule
from nelbo.samplers.multistep import Coefficients, MultistepSampler


@dataclass(frozen=True)
class DPMSolverPP(MultistepSampler):
    """DPM-Solver++(2M): a second-order solver with one network call a step.

    With lambda = log(SNR) / 2, h its increase from t to t - 1, and stddev = sqrt(1 - abar):
    x_{t-1} = stddev_{t-1} / stddev_t x_t + sqrt(abar_{t-1}) (1 - e^-h) D, D = xhat_0 + (xhat_0 - xhat_0') / 2r, where r
    is the previous step's h divided by this step's (Lu et al. 2022, algorithm 2). Without history D = xhat_0, and the
    step is a DDIM step.
    """

    @property
    def first_order(self) -> Coefficients:
        """The weights with D = xhat_0."""
        kept, gain, noise = self._exponentials()
        return Coefficients(kept, gain, torch.zeros_like(gain), noise)

    @property
    def second_order(self) -> Coefficients:
        """The weights with D extrapolated half a step ahead."""
        first, ahead = self.first_order, half_step_ahead(self.reverse.schedule)
        return Coefficients(first.x_t, first.x_0 * (1 + ahead), -first.x_0 * ahead, first.noise)

    def _exponentials(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights (T+1,) of x_t, of D and of z."""
        schedule = self.reverse.schedule
        kept = torch.roll(schedule.noise_stddev, 1) / schedule.noise_stddev
        return kept, torch.roll(schedule.signal, 1) * (1 - shrink(schedule)), torch.zeros_like(kept)


@dataclass(frozen=True)
class StochasticDPMSolverPP(DPMSolverPP):
    """SDE-DPM-Solver++(2M): the same method for the reverse SDE. Each step replaces part of the noise by fresh noise.

    x_{t-1} = stddev_{t-1} / stddev_t e^-h x_t + sqrt(abar_{t-1}) (1 - e^-2h) D + stddev_{t-1} sqrt(1 - e^-2h) z
    (Lu et al. 2022). Without history the step is Algorithm 2 with the variance "fixed-small".
    """

    @property
    def draws_noise(self) -> bool:
        """Always: one draw at each step except the last."""
        return True

    def _exponentials(self) -> tuple[Tensor, Tensor, Tensor]:
        schedule, e_h = self.reverse.schedule, shrink(self.reverse.schedule)
        stddev = torch.roll(schedule.noise_stddev, 1)
        kept = stddev / schedule.noise_stddev * e_h
        return kept, torch.roll(schedule.signal, 1) * (1 - e_h**2), stddev * (1 - e_h**2).sqrt()


def shrink(schedule: NoiseSchedule) -> Tensor:
    """Return (T+1,) e^-h of the step from t to t - 1: the ratio of sqrt(SNR). It is 0 at t = 1, where h is infinite."""
    return torch.cat([torch.full_like(schedule.snr[:1], math.nan), (schedule.snr[1:] / schedule.snr[:-1]).sqrt()])


def half_step_ahead(schedule: NoiseSchedule) -> Tensor:
    """Return (T+1,) 1 / 2r of the step from t to t - 1: half its increase in log SNR, divided by the previous one's."""
    log_snr = schedule.log_snr
    rise = torch.roll(log_snr, 1) - log_snr
    return rise / (2 * torch.roll(rise, -1))
