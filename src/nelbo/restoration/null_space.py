"""Null-space restoration: each xhat_0 is made to agree with the measurement y = A x_0 (Wang et al. 2023).

The model fills in the part of the image that A does not measure.
"""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from nelbo.diffusion import Calibrated, ReverseProcess
from nelbo.errors import ConfigurationError, ShapeError, option
from nelbo.restoration.operators import Damage
from nelbo.samplers import FlowSampler, Sampler

ROUNDS, NEAR = 200, 1e-4  # NEAR is in units of data: about a hundredth of a grey level


@dataclass(frozen=True, eq=False)
class NullSpace:
    """The `Constraint` xhat_0 + w_t A+ (y - A xhat_0): with any sampler, draws that agree with y.

    Without noise w_t = 1, and the result is A+ y + (I - A+ A) xhat_0, DDNM (Wang et al. 2023, eq. 13): A maps it to y.

    With y = A x_0 + noise z, let p(x_0|x_t) be N(xhat_0, r_t^2 I), as in Song et al. 2023 (PiGDM, eq. 7). Then
    E[x_0|x_t, y] has w_t = r_t^2 / (r_t^2 + (noise / gain)^2): prediction and measurement are weighted by their
    precision. As in DDRM (Kawar et al. 2022) and DDNM+, the correction is nearly full while the noise of x_t is far
    above that of y, and shrinks below. Unlike there, the variance of the sampler does not change. The weight is exact
    for white Gaussian data, for which p(x_0|x_t) has this form.

    Attributes:
        damage: A.
        measured: y (B, ...) or (1, ...), in units of data.
        noise: the standard deviation of the noise of y, in units of data (a grey level of 256 is 2 / 255).
        unknown: (T+1,) r_t^2 at each step of the sampled schedule; see `unknown_variance`. Read only with noise.
    """

    damage: Damage
    measured: Tensor
    noise: float = 0.0
    unknown: Tensor | None = None

    def __post_init__(self) -> None:
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ConfigurationError(f"the noise of a measurement must be 0 or more, got {self.noise}.")
        if self.noise > 0 and self.unknown is None:
            raise ConfigurationError("a noisy measurement needs r_t^2: pass `unknown`, or use `held_to`.")

    def __call__(self, x_0: Tensor, t: Tensor) -> Tensor:
        """Return xhat_0 corrected towards y; see `Constraint`.

        Raises:
            ShapeError: y has another shape than A xhat_0.
        """
        seen, measured = self.damage(x_0), self.measured.to(x_0)
        if measured.shape[1:] != seen.shape[1:] or len(measured) not in (1, len(seen)):
            raise ShapeError(
                f"the measurement has the shape {tuple(measured.shape)}, but the damage produces {tuple(seen.shape)}."
            )
        correction = self.damage.inverse(measured - seen)
        return x_0 + correction if self.noise == 0 else x_0 + self._weight(t, x_0) * correction

    def _weight(self, t: Tensor, like: Tensor) -> Tensor:
        assert self.unknown is not None
        unknown = self.unknown.to(like.device)[t]
        weight = unknown / (unknown + (self.noise / self.damage.gain) ** 2)
        return weight.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def held_to(sampler: Sampler, damage: Damage, measured: Tensor, noise: float = 0.0) -> Sampler:
    """Return the sampler with a `NullSpace` constraint: every xhat_0 is made to agree with the measurement.

    Raises:
        ConfigurationError: churn with a noisy measurement: churn visits steps outside the stride, which have no r_t^2.
    """
    if noise > 0 and isinstance(sampler, FlowSampler) and sampler.churn > 0:
        raise ConfigurationError(f"a noisy measurement cannot be combined with churn; remove {option('churn')}.")
    reverse = sampler.reverse
    constraint = NullSpace(damage, measured, noise, unknown_variance(reverse))
    return replace(sampler, reverse=replace(reverse, constraints=(*reverse.constraints, constraint)))


def within_range(damage: Damage, measured: Tensor, x_0: Tensor) -> Tensor:
    """Return an image within [-1, 1] that agrees with y (B, ...), from one that agrees but may exceed the range.

    Both conditions define convex sets: projecting onto them in turn converges to a point of both (Bregman 1965).
    """
    for _ in range(ROUNDS):
        x_0 = x_0.clamp(-1, 1)
        correction = damage.inverse(measured.to(x_0) - damage(x_0))
        if float(correction.abs().max()) <= NEAR:
            break
        x_0 = x_0 + correction
    return x_0.clamp(-1, 1)


def unknown_variance(reverse: ReverseProcess) -> Tensor:
    """Return (T+1,) r_t^2, the variance of a pixel of x_0 given x_t.

    It is the calibrated mse_t if the process has one, else 1 - alphas_bar_t: the value for data of unit variance (Song
    et al. 2023).
    """
    schedule, variance = reverse.schedule, reverse.variance
    if isinstance(variance, Calibrated):
        return variance.mse.to(schedule.timesteps.device)[schedule.timesteps]
    return schedule.noise_variance
