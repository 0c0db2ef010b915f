"""The variational bound in the limit of infinitely many steps (Kingma et al. 2021, section 4.2)."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion.bound import BoundTerms, VariationalBound, sum_dims
from nelbo.diffusion.continuous_schedule import ContinuousSchedule
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.diffusion.variance import FixedSmall
from nelbo.display import Brief
from nelbo.randomness import standard_normal


@dataclass(frozen=True)
class ContinuousBound(Brief):
    """L for T to infinity: L_T + L_0 + the integral of E||noise - noise_theta||^2 / 2 over log SNR.

    With sigma_t^2 = betatilde_t, the sum of L_{t-1} (eq. 5) falls to this integral as the steps become finer. A term
    L_{t-1} is (SNR_{t-1} - SNR_t) / 2 ||x_0 - xhat_0||^2 (eq. 12), and SNR ||x_0 - xhat_0||^2 is the squared error of
    the noise, so with d SNR = SNR d log SNR the squared error of the noise is left.

    Attributes:
        reverse: the process; L_T and L_0 are those of its own chain, whose ends the schedule has too.
        schedule: log SNR over continuous time.
    """

    reverse: ReverseProcess
    schedule: ContinuousSchedule

    def per_log_snr(self, x_0: Tensor, log_snr: Tensor, noise: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return one draw of the integrand, ||noise - noise_theta||^2 / 2 at a log SNR, (B,) nats.

        Args:
            x_0: (B, ...) data.
            log_snr: (B,) of each example.
            noise: (B, ...) from N(0, I).
        """
        process = replace(self.reverse, schedule=self._levels(log_snr), variance=FixedSmall())
        t = torch.arange(1, len(x_0) + 1, device=x_0.device)
        x_t = process.forward_process.sample(x_0, t, noise)
        prediction = process.predict(x_t, t, label)
        return 0.5 * sum_dims((noise - prediction.noise).square(), prediction.observed)

    def chain(self, x_0: Tensor, u: Tensor, noise: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return one draw of the integral over log SNR, (B,) nats, at u (B,) float64 drawn uniformly from [0, 1]."""
        density, log_snr = self.schedule.slope(u), self.schedule.log_snr(u)
        return density.to(x_0) * self.per_log_snr(x_0, log_snr.to(x_0.device), noise, label)

    def terms(
        self,
        x_0: Tensor,
        generator: torch.Generator | None,
        label: ConditionLike | None = None,
        *,
        draws: int = 64,
    ) -> BoundTerms:
        """Return an estimate of each term.

        Args:
            draws: strata of [0, 1]; column j of `denoising` is the part of stratum j in the integral.
        """
        ends, parts = VariationalBound(self.reverse), []
        for stratum in range(draws):
            within = torch.rand(len(x_0), generator=generator, dtype=torch.float64)
            u = (stratum + within) / draws
            parts.append(self.chain(x_0, u, standard_normal(x_0.shape, generator, x_0), label) / draws)
        decoder = ends.decoder(x_0, standard_normal(x_0.shape, generator, x_0), label)
        return BoundTerms(ends.prior(x_0, label), torch.stack(parts, 1), decoder)

    def _levels(self, log_snr: Tensor) -> NoiseSchedule:
        """Return a table with the noise level of example i at t = i + 1; only eq. 4 of it has a meaning."""
        single = log_snr.device.type == "mps"
        levels = log_snr.float() if single else log_snr.double()
        alphas_bar, times = levels.sigmoid(), self.schedule.time(levels)
        first = alphas_bar.new_ones(1)
        steps = torch.arange(len(log_snr) + 1, device=log_snr.device)
        return NoiseSchedule(torch.cat([first, alphas_bar]), steps, times=torch.cat([0 * first, times]))
