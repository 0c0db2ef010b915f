"""DPM-Solver++: the probability-flow ODE solved exactly but for xhat_0, which is extrapolated (Lu et al. 2022)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule
from nelbo.samplers.multistep import Coefficients, MultistepSampler


@dataclass(frozen=True)
class DPMSolverPP(MultistepSampler):
    """DPM-Solver++(2M): second order, one call a step.

    With lambda = log(SNR) / 2, h its rise from t to t - 1, and stddev = sqrt(1 - abar),
    x_{t-1} = stddev_{t-1} / stddev_t x_t + sqrt(abar_{t-1}) (1 - e^-h) D, D = xhat_0 + (xhat_0 - xhat_0') / 2r, where r
    is the step before in units of this one (Lu et al. 2022, algorithm 2). Without history D = xhat_0, which is DDIM.
    """

    @property
    def first_order(self) -> Coefficients:
        """D = xhat_0."""
        kept, gain, noise = self._exponentials()
        return Coefficients(kept, gain, torch.zeros_like(gain), noise)

    @property
    def second_order(self) -> Coefficients:
        """D reaches half a step ahead."""
        first, ahead = self.first_order, half_step_ahead(self.reverse.schedule)
        return Coefficients(first.x_t, first.x_0 * (1 + ahead), -first.x_0 * ahead, first.noise)

    def _exponentials(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of x_t, of D, and of z."""
        schedule = self.reverse.schedule
        kept = torch.roll(schedule.noise_stddev, 1) / schedule.noise_stddev
        return kept, torch.roll(schedule.signal, 1) * (1 - shrink(schedule)), torch.zeros_like(kept)


@dataclass(frozen=True)
class StochasticDPMSolverPP(DPMSolverPP):
    """SDE-DPM-Solver++(2M): the same for the reverse SDE, where each step forgets twice as fast and draws what it lost.

    x_{t-1} = stddev_{t-1} / stddev_t e^-h x_t + sqrt(abar_{t-1}) (1 - e^-2h) D + stddev_{t-1} sqrt(1 - e^-2h) z
    (Lu et al. 2022). Without history it is Algorithm 2 with the variance "fixed-small".
    """

    def _exponentials(self) -> tuple[Tensor, Tensor, Tensor]:
        schedule, e_h = self.reverse.schedule, shrink(self.reverse.schedule)
        stddev = torch.roll(schedule.noise_stddev, 1)
        kept = stddev / schedule.noise_stddev * e_h
        return kept, torch.roll(schedule.signal, 1) * (1 - e_h**2), stddev * (1 - e_h**2).sqrt()


def shrink(schedule: NoiseSchedule) -> Tensor:
    """(T+1,) e^-h for the step from t to t - 1: the ratio of sqrt(SNR); 0 at t = 1, whose step is infinite."""
    return torch.cat([torch.full_like(schedule.snr[:1], math.nan), (schedule.snr[1:] / schedule.snr[:-1]).sqrt()])


def half_step_ahead(schedule: NoiseSchedule) -> Tensor:
    """(T+1,) 1 / 2r for the step from t to t - 1: half of this step's rise in log SNR over that of the step before."""
    log_snr = schedule.log_snr
    rise = torch.roll(log_snr, 1) - log_snr
    return rise / (2 * torch.roll(rise, -1))
