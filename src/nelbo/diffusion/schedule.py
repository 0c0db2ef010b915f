"""The noise schedule: beta_t, alpha_t, alphas_bar_t and the coefficients of eqs. 2, 4 and 7, for t = 0..T."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.diffusion.spacing import check_num_kept, evenly_spaced
from nelbo.errors import NelboWarning, ScheduleError

VISIBLE_SIGNAL = 0.05
LARGEST_LOG_SNR = 25.0  # above it, 1 - alphas_bar keeps too few digits in float64


class ScheduleWarning(NelboWarning):
    """Warning: the schedule is valid, but x_T still shows the data."""


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """Tables over t = 0..T in float64, with T+1 entries each. Index 0 is the data itself: alphas_bar[0] = 1.

    A stride is a schedule too. `network_times[t]` is the network's own time for step t, so the forward process, the
    reverse process, the bound, the samplers and the codec use a strided schedule without changes.

    Attributes:
        alphas_bar: (T+1,) the share of signal variance, falling from 1 (eq. 4).
        timesteps: (T+1,) int64, the step of the whole schedule that each step is; 0..T unless this is a stride.
        whole: the schedule of which this is a stride, or None.
        times: (T+1,) float64, the network's own time of each step where it is not `timesteps`, but follows log SNR;
            None where it is.

    Examples:
        >>> schedule = NoiseSchedule.linear(1000)
        >>> round(float(schedule.alphas_bar[500]), 7)
        0.0785872
        >>> schedule.strided(4).timesteps
        tensor([   0,  250,  500,  750, 1000])
    """

    alphas_bar: Tensor
    timesteps: Tensor
    whole: "NoiseSchedule | None" = None
    times: Tensor | None = None

    @classmethod
    def from_alphas_bar(cls, alphas_bar: Tensor | Sequence[float], timesteps: Tensor | None = None) -> "NoiseSchedule":
        """Build a schedule from alphas_bar_0..alphas_bar_T, with alphas_bar_0 = 1 (eq. 4).

        Args:
            alphas_bar: (T+1,).
            timesteps: (T+1,) int64, the network's own time of each step; 0..T if None.

        Raises:
            ScheduleError: the table doesn't start at 1, or doesn't fall strictly, or leaves (0, 1).

        Warns:
            ScheduleWarning: x_T keeps more than 5% of the data's amplitude.
        """
        return cls._checked(alphas_bar, timesteps)

    @classmethod
    def linear(cls, num_steps: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> "NoiseSchedule":
        """Build the paper's schedule: beta rises linearly from beta_1 to beta_T (Ho et al., section 4)."""
        _check_num_steps(num_steps)
        for name, beta in (("beta_1", beta_1), ("beta_T", beta_T)):
            if not 0 < beta < 1:
                raise ScheduleError(f"{name} must be between 0 and 1, got {beta}.")
        return cls._checked(_alphas_bar(torch.linspace(beta_1, beta_T, num_steps, dtype=torch.float64)))

    @classmethod
    def from_betas(cls, betas: Tensor | Sequence[float]) -> "NoiseSchedule":
        """Build a schedule from beta_1..beta_T (eq. 2).

        Raises:
            ScheduleError: the table is empty, or some beta is not between 0 and 1.
        """
        table = torch.as_tensor(betas, dtype=torch.float64)
        _check_num_steps(len(table))
        return cls._checked(_alphas_bar(table))

    @classmethod
    def cosine(cls, num_steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> "NoiseSchedule":
        """Build a schedule whose alphas_bar is a squared cosine, beta <= max_beta (Nichol & Dhariwal 2021, eq. 17)."""
        _check_num_steps(num_steps)
        angle = (torch.arange(num_steps + 1, dtype=torch.float64) / num_steps + offset) / (1 + offset) * (math.pi / 2)
        signal = torch.cos(angle) ** 2
        return cls._checked(_alphas_bar((1 - signal[1:] / signal[:-1]).clamp(max=max_beta)))

    @classmethod
    def log_linear(
        cls, num_steps: int = 1000, log_snr_max: float = 15.0, log_snr_min: float = -10.5
    ) -> "NoiseSchedule":
        """Build a schedule whose log SNR falls linearly from t = 1 to t = T (Kingma et al. 2021).

        With the variance betatilde_t, L_simple then weights all L_{t-1} of t > 1 equally (eq. 12). With the defaults,
        the noise at t = 1 has a stddev of 0.07 grey levels (of 256), and L_T is about 0.01 nats per image of 28 x 28.
        """
        _check_num_steps(num_steps)
        if not log_snr_max <= LARGEST_LOG_SNR:
            raise ScheduleError(
                f"log_snr_max must be at most {LARGEST_LOG_SNR:g}, got {log_snr_max}: above, rounding errors show."
            )
        if not log_snr_max > log_snr_min:
            raise ScheduleError(f"log_snr_max must be above log_snr_min, got {log_snr_max} and {log_snr_min}.")
        log_snr = torch.linspace(log_snr_max, log_snr_min, num_steps, dtype=torch.float64)
        return cls._checked(torch.cat([torch.ones(1, dtype=torch.float64), log_snr.sigmoid()]))

    @classmethod
    def _checked(cls, alphas_bar: Tensor | Sequence[float], timesteps: Tensor | None = None) -> "NoiseSchedule":
        """Check the table and build the schedule. Every constructor calls this; the warning points at its caller."""
        table = torch.as_tensor(alphas_bar, dtype=torch.float64)
        if table.ndim != 1 or len(table) < 2 or float(table[0]) != 1.0:
            raise ScheduleError(
                f"alphas_bar must have T+1 entries from alphas_bar[0] = 1, got shape {tuple(table.shape)}"
                f"{f' starting at {float(table[0])}' if table.ndim == 1 and len(table) else ''}."
            )
        betas = 1 - table[1:] / table[:-1]
        bad = ~((betas > 0) & (betas < 1) & (table[1:] > 0))
        if bool(bad.any()):
            t = int(bad.nonzero()[0]) + 1
            raise ScheduleError(
                f"beta_{t} = {float(betas[t - 1]):.6g} is not between 0 and 1 (alphas_bar goes from "
                f"{float(table[t - 1]):.6g} to {float(table[t]):.6g}); choose smaller betas or more steps."
            )
        if float(table[-1].sqrt()) > VISIBLE_SIGNAL:
            warnings.warn(
                f"after {len(table) - 1} steps x_T still has {float(table[-1].sqrt()):.3f} of the data's amplitude "
                f"(sqrt(alphas_bar_T), expected at most {VISIBLE_SIGNAL}), but sampling starts from pure noise, which "
                "the model has not seen in training; use more steps or larger betas.",
                ScheduleWarning,
                stacklevel=3,
            )
        times = torch.arange(len(table)) if timesteps is None else timesteps
        return cls(table, times)

    def strided(self, steps: int | Sequence[int]) -> "NoiseSchedule":
        """Return the chain restricted to some of its steps. Its betas follow from the ratios of alphas_bar (eq. 4).

        Args:
            steps: the number of steps to keep, evenly spaced and ending at T; or the steps themselves, rising within
                1..T and ending at T.

        Raises:
            ScheduleError: a number outside 1..T, or steps that don't rise or don't end at T.
        """
        total = self.num_steps
        if not isinstance(steps, Sequence):
            check_num_kept(steps, total)
            kept = evenly_spaced(int(steps), total)
        else:
            given = torch.as_tensor(steps)
            kept = given.long()
            rising = len(kept) > 0 and bool((kept[1:] > kept[:-1]).all()) and int(kept[0]) >= 1
            if not rising or int(kept[-1]) != total or not torch.equal(kept, given):
                raise ScheduleError(
                    f"the steps kept must rise within 1..{total} and end at {total}, got {list(steps)}."
                )
        index = torch.cat([torch.zeros(1, dtype=torch.int64), kept]).to(self.timesteps.device)
        return self.part(index, self.whole or self)

    def part(self, index: Tensor, whole: "NoiseSchedule | None" = None) -> "NoiseSchedule":
        """Return the table at some of its rows (N+1,), of which the first is 0."""
        times = None if self.times is None else self.times[index]
        return NoiseSchedule(self.alphas_bar[index], self.timesteps[index], whole, times)

    def to(self, device: torch.device | str) -> "NoiseSchedule":
        """Return the same schedule with its tables on `device`, in float32 on devices without float64 (MPS)."""
        dtype = torch.float32 if torch.device(device).type == "mps" else torch.float64
        whole = None if self.whole is None else self.whole.to(device)
        times = None if self.times is None else self.times.to(device=device, dtype=dtype)
        moved = NoiseSchedule(self.alphas_bar.to(device=device, dtype=dtype), self.timesteps.to(device), whole, times)
        for name in TABLES:  # computed in float64 before the move
            moved.__dict__[name] = getattr(self, name).to(device=device, dtype=dtype)
        return moved

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.alphas_bar) - 1

    @property
    def network_times(self) -> Tensor:
        """(T+1,) the time that the network is given for each step."""
        return self.timesteps if self.times is None else self.times

    @property
    def device(self) -> torch.device:
        """The device of the tables."""
        return self.alphas_bar.device

    @cached_property
    def alphas(self) -> Tensor:
        """alpha_t = 1 - beta_t = alphas_bar_t / alphas_bar_{t-1} (eq. 4); alpha_0 = 1."""
        return torch.cat([torch.ones_like(self.alphas_bar[:1]), self.alphas_bar[1:] / self.alphas_bar[:-1]])

    @cached_property
    def betas(self) -> Tensor:
        """beta_t = 1 - alpha_t (eq. 2); beta_0 = 0."""
        return 1 - self.alphas

    @cached_property
    def signal(self) -> Tensor:
        """sqrt(alphas_bar_t): the amplitude of x_0 in x_t (eq. 4)."""
        return self.alphas_bar.sqrt()

    @cached_property
    def noise_variance(self) -> Tensor:
        """1 - alphas_bar_t: the variance of q(x_t|x_0) (eq. 4)."""
        return 1 - self.alphas_bar

    @cached_property
    def noise_stddev(self) -> Tensor:
        """sqrt(1 - alphas_bar_t): the amplitude of the noise in x_t (eq. 4)."""
        return self.noise_variance.sqrt()

    @cached_property
    def snr(self) -> Tensor:
        """The signal-to-noise ratio SNR_t = alphas_bar_t / (1 - alphas_bar_t); infinite at t = 0."""
        return self.alphas_bar / self.noise_variance

    @cached_property
    def log_snr(self) -> Tensor:
        """log SNR_t, natural logarithm; infinite at t = 0."""
        return self.snr.log()

    @cached_property
    def sigma(self) -> Tensor:
        """1 / sqrt(SNR_t): the amplitude of the noise in x_t / sqrt(alphas_bar_t), sigma of Karras et al. 2022."""
        return self.noise_stddev / self.signal

    @cached_property
    def posterior_x_0(self) -> Tensor:
        """The coefficient of x_0 in mutilde_t (eq. 7): sqrt(alphas_bar_{t-1}) beta_t / (1 - alphas_bar_t)."""
        return _from_1(self.signal[:-1] * self.betas[1:] / self.noise_variance[1:])

    @cached_property
    def posterior_x_t(self) -> Tensor:
        """The coefficient of x_t in mutilde_t (eq. 7): sqrt(alpha_t) (1 - alphas_bar_{t-1}) / (1 - alphas_bar_t)."""
        return _from_1(self.alphas[1:].sqrt() * self.noise_variance[:-1] / self.noise_variance[1:])

    @cached_property
    def posterior_variance(self) -> Tensor:
        """betatilde_t = (1 - alphas_bar_{t-1}) / (1 - alphas_bar_t) beta_t (eq. 7); exactly 0 at t = 1."""
        return _from_1(self.noise_variance[:-1] / self.noise_variance[1:] * self.betas[1:])

    def sigma_lacking(self, t: int, sigma: float) -> float:
        """Return the stddev of the noise that raises x_0 + sigma z to the noise level of x_t / sqrt(alphas_bar_t).

        It is sqrt(sigma_t^2 - sigma^2), and 0 if sigma is larger than sigma_t.
        """
        return math.sqrt(max(float(self.sigma[t]) ** 2 - sigma**2, 0.0))

    def at(self, table: Tensor, t: Tensor, like: Tensor) -> Tensor:
        """Return `table[t]` in the dtype of `like` (B, ...), with the shape (B, 1, ...) that broadcasts against it.

        Raises:
            ScheduleError: a step outside 1..T. The check is made only for t on the CPU, where it needs no
                synchronisation.
        """
        if t.device.type == "cpu" and not torch.compiler.is_compiling() and t.numel():
            low, high = torch.aminmax(t)
            if int(low) < 1 or int(high) > self.num_steps:
                raise ScheduleError(f"t must be within 1..{self.num_steps}, got {int(low)}..{int(high)}.")
        values = table.to(like.device)[t]
        return values.to(like.dtype).reshape(-1, *[1] * (like.ndim - 1))


TABLES = (
    "alphas",
    "betas",
    "signal",
    "noise_variance",
    "noise_stddev",
    "snr",
    "log_snr",
    "sigma",
    "posterior_x_0",
    "posterior_x_t",
    "posterior_variance",
)


def _alphas_bar(betas: Tensor) -> Tensor:
    """Return alphas_bar_t = prod_{s<=t} (1 - beta_s) (eq. 4) for t = 0..T, from beta_1..beta_T."""
    return torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas, 0)])


def _from_1(values: Tensor) -> Tensor:
    """Return a table over t = 0..T from its values at 1..T; entry 0 is NaN, because t = 0 has no posterior."""
    return torch.cat([torch.full_like(values[:1], math.nan), values])


def _check_num_steps(num_steps: int) -> None:
    if num_steps < 1:
        raise ScheduleError(f"a schedule needs at least 1 step, got num_steps = {num_steps}.")
