"""log SNR as a function of continuous time, fixed or learned (Kingma et al. 2021)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.errors import ScheduleError
from nelbo.networks.monotone import MonotoneNetwork


@dataclass(frozen=True, eq=False)
class ContinuousSchedule:
    """log SNR at every time u in [0, 1], falling from `log_snr_max` to `log_snr_min` between fixed ends.

    The bound in the limit of infinitely many steps depends on the ends alone. The path between them only decides how
    often each log SNR is drawn, and so the variance of the estimate. `NoiseSchedule` is a table of it.

    The network is given the log SNR and not u, so that it means the same for every path: see `time`.

    Attributes:
        log_snr_max: log SNR at u = 0.
        log_snr_min: log SNR at u = 1.
        num_steps: T of the table, which scales the network's own time.
        path: f of log SNR = log_snr_max - (log_snr_max - log_snr_min) f(u); None is f(u) = u.

    Raises:
        ScheduleError: the ends do not fall, or T is below 2.
    """

    log_snr_max: float
    log_snr_min: float
    num_steps: int = 1000
    path: MonotoneNetwork | None = None

    def __post_init__(self) -> None:
        if self.num_steps < 2:
            raise ScheduleError(f"a continuous schedule needs at least 2 steps for its table, got {self.num_steps}.")
        NoiseSchedule.log_linear(self.num_steps, self.log_snr_max, self.log_snr_min)

    @property
    def span(self) -> float:
        """log_snr_max - log_snr_min."""
        return self.log_snr_max - self.log_snr_min

    def log_snr(self, u: Tensor) -> Tensor:
        """Return log SNR at u (B,) float64."""
        return self.log_snr_max - self.span * (u if self.path is None else self.path(u))

    def slope(self, u: Tensor) -> Tensor:
        """Return -d log SNR / du > 0 at u (B,) float64: one over the density of log SNR."""
        return self.span * (torch.ones_like(u) if self.path is None else self.path.slope(u))

    def time(self, log_snr: Tensor) -> Tensor:
        """Return the network's own time of a log SNR: its step 1..T, in fractions, of the log-linear schedule."""
        return 1 + (self.num_steps - 1) * (self.log_snr_max - log_snr) / self.span

    @torch.no_grad()
    def table(self) -> NoiseSchedule:
        """Return the schedule of T steps at evenly spaced u, with the time that its network is given."""
        log_snr = self.log_snr(torch.linspace(0, 1, self.num_steps, dtype=torch.float64))
        return self.of_alphas_bar(torch.cat([torch.ones(1, dtype=torch.float64), log_snr.sigmoid()]))

    def of_alphas_bar(self, alphas_bar: Tensor) -> NoiseSchedule:
        """Return the schedule of a table (T+1,) that `table` returned, with the time that its network is given."""
        schedule = NoiseSchedule.from_alphas_bar(alphas_bar)
        times = self.time(schedule.log_snr)
        times[0] = 0
        return replace(schedule, times=times)

    def variance_loss(self, u: Tensor, loss: Tensor) -> Tensor:
        """Return a scalar whose gradient is that of the second moment of the loss with respect to the path.

        A loss at u is f(log SNR) / q(log SNR), where q is the density of log SNR and f does not depend on the path. Its
        mean does not depend on the path either, so the second moment E[f^2 / q] has the gradient of the variance, and
        that is the mean of -loss^2 grad log q at the log SNR drawn. Unlike the gradient of loss^2 along the path
        (Kingma et al. 2021, appendix I), it needs no gradient through the network.

        Args:
            u: (B,) float64, drawn uniformly.
            loss: (B,) float64, the losses at u, without gradient.

        Raises:
            ScheduleError: the schedule has no path to learn.
        """
        if self.path is None:
            raise ScheduleError("this continuous schedule is fixed; build it with a `path` to learn.")
        level, slope = self.path(u), self.path.slope(u)
        at_level = u - (level - level.detach()) / slope.detach()  # u, as it moves to keep its log SNR
        return (loss.square() * self.path.slope(at_level).log()).mean()
