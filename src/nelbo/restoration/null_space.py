"""What was measured is put into every xhat_0, and the model fills in what the damage cannot see (Wang et al. 2023)."""

import math
from dataclasses import dataclass, replace

from torch import Tensor

from nelbo.diffusion import Calibrated, ReverseProcess
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.restoration.operators import Damage
from nelbo.samplers import FlowSampler, Sampler

ROUNDS, NEAR = 200, 1e-4  # in units of data: a hundredth of a grey level


@dataclass(frozen=True, eq=False)
class NullSpace:
    """xhat_0 + w_t A+ (y - A xhat_0), a `Constraint`: with any sampler, draws that agree with y.

    Without noise w_t = 1 and this is A+ y + (I - A+ A) xhat_0, DDNM (Wang et al. 2023, eq. 13): A of the result is y.

    With y = A x_0 + noise z, let p(x_0|x_t) be N(xhat_0, r_t^2 I), as Song et al. 2023 do (PiGDM, eq. 7). Then
    E[x_0|x_t, y] has w_t = r_t^2 / (r_t^2 + (noise / gain)^2): each side counts by what it knows. As in DDRM (Kawar et
    al. 2022) and DDNM+ the correction is nearly full while the chain's noise is far above that of y, and fades below;
    here no variance of the sampler is changed for it. It is exact for white Gaussian data as r_t^2 supposes it.

    Attributes:
        damage: A.
        measured: y (B, ...) or (1, ...), in units of data.
        noise: the standard deviation of y, in units of data (a grey level of 256 is 2 / 255).
        unknown: (T+1,) r_t^2 by the step of the chain that is walked; see `unknown_variance`. Not read without noise.
    """

    damage: Damage
    measured: Tensor
    noise: float = 0.0
    unknown: Tensor | None = None

    def __post_init__(self) -> None:
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ConfigurationError(f"the noise of what was measured must be 0 or more, got {self.noise}.")
        if self.noise > 0 and self.unknown is None:
            raise ConfigurationError("a noisy measurement is weighed against r_t^2: give `unknown`, or use `held_to`.")

    def __call__(self, x_0: Tensor, t: Tensor) -> Tensor:
        """See `Constraint`. Raises ShapeError where y is of another shape than A xhat_0."""
        seen, measured = self.damage(x_0), self.measured.to(x_0)
        if measured.shape[1:] != seen.shape[1:] or len(measured) not in (1, len(seen)):
            raise ShapeError(f"{tuple(measured.shape)} was measured, and the damage leaves {tuple(seen.shape)}.")
        correction = self.damage.inverse(measured - seen)
        return x_0 + correction if self.noise == 0 else x_0 + self._weight(t, x_0) * correction

    def _weight(self, t: Tensor, like: Tensor) -> Tensor:
        assert self.unknown is not None
        unknown = self.unknown.to(like.device)[t]
        weight = unknown / (unknown + (self.noise / self.damage.gain) ** 2)
        return weight.to(like.dtype).view(-1, *[1] * (like.ndim - 1))


def held_to(sampler: Sampler, damage: Damage, measured: Tensor, noise: float = 0.0) -> Sampler:
    """The same sampler, every xhat_0 of which is held to what was measured; see `NullSpace`.

    Raises:
        ConfigurationError: churn with a noisy measurement: it looks at steps that are not of the chain.
    """
    if noise > 0 and isinstance(sampler, FlowSampler) and sampler.churn > 0:
        raise ConfigurationError("churn and a noisy measurement don't go together; leave --churn out.")
    reverse = sampler.reverse
    constraint = NullSpace(damage, measured, noise, unknown_variance(reverse))
    return replace(sampler, reverse=replace(reverse, constraints=(*reverse.constraints, constraint)))


def within_range(damage: Damage, measured: Tensor, x_0: Tensor) -> Tensor:
    """An image within [-1, 1] that agrees with y (B, ...), from one that does but may pass beyond.

    Both sets are convex: what is projected onto them in turn comes to where they meet (Bregman 1965).
    """
    for _ in range(ROUNDS):
        x_0 = x_0.clamp(-1, 1)
        correction = damage.inverse(measured.to(x_0) - damage(x_0))
        if float(correction.abs().max()) <= NEAR:
            break
        x_0 = x_0 + correction
    return x_0.clamp(-1, 1)


def unknown_variance(reverse: ReverseProcess) -> Tensor:
    """(T+1,) r_t^2, the variance of a pixel of x_0 given x_t: what calibration measured, where it did.

    Else 1 - alphas_bar_t, which is that of data of unit variance (Song et al. 2023).
    """
    schedule, variance = reverse.schedule, reverse.variance
    if isinstance(variance, Calibrated):
        return variance.mse.to(schedule.timesteps.device)[schedule.timesteps]
    return schedule.noise_variance
