"""White noise, removed by a walk that starts at the noise level of the image (denoising)."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import ReverseProcess
from nelbo.errors import ConfigurationError, NelboWarning, option, warn
from nelbo.restoration.damages.damage import ImageDamage, Walk
from nelbo.restoration.denoising import denoise, posterior_mean
from nelbo.samplers import SAMPLERS, Sampler


class NoiseWarning(NelboWarning):
    """Noise that is below that of the model's chain."""


@dataclass(frozen=True, eq=False)
class NoiseDamage(ImageDamage):
    """White noise. Its posterior mean E[x_0|y] takes one network call.

    Attributes:
        noise: the standard deviation in grey levels (of 0..255 for most models), above 0.
    """

    name: ClassVar[str] = "noise"
    starts_midway: ClassVar[bool] = True

    noise: float

    def __post_init__(self) -> None:
        if not (self.noise > 0 and math.isfinite(self.noise)):
            raise ConfigurationError(
                f"{option('noise')} is a standard deviation in grey levels: it must be above 0 and finite, got "
                f"{self.noise}."
            )

    def walk(self, sampler: Sampler, y: Tensor, steps: int) -> Walk:
        """Return draws from p_theta(x_0|y); see `ImageDamage.walk`.

        Raises:
            ConfigurationError: a sampler that draws no noise, or more noise than that of x_T.
        """
        if not sampler.draws_noise:
            name = next((name for name, kind in SAMPLERS.items() if type(sampler) is kind), type(sampler).__name__)
            drawing = [name for name, kind in SAMPLERS.items() if kind(sampler.reverse).draws_noise]
            raise ConfigurationError(
                f"the sampler {name!r} draws no noise, so that all draws would be nearly equal; set "
                f"{' or '.join(option('sampler', name) for name in drawing)}, or {option('sampler', 'ddim')} with "
                f"{option('eta', 1)}."
            )
        sigma = self._sigma(sampler.reverse)
        least = float(sampler.reverse.schedule.sigma[1])
        if sigma < least:
            warn(
                f"noise of {self.noise:g} grey levels is below {least / _level(sampler.reverse):.2g}, the smallest "
                "noise of the model's chain: all draws equal the mean.",
                NoiseWarning,
            )
        return Walk(
            steps,
            lambda generators, label: denoise(
                sampler, y.expand(len(generators), -1, -1, -1), sigma, generators, steps, label
            ),
        )

    def mean(self, reverse: ReverseProcess, y: Tensor, label: ConditionLike | None) -> Tensor | None:
        """Return E[x_0|y]; see `ImageDamage.mean`."""
        return posterior_mean(reverse, y, self._sigma(reverse), label)

    def _sigma(self, reverse: ReverseProcess) -> float:
        """Return the noise in units of data."""
        level = _level(reverse)
        most = float(reverse.schedule.sigma[-1]) / level
        if self.noise > most:
            raise ConfigurationError(
                f"{option('noise', f'{self.noise:g}')} is above this model's largest noise, {most:.0f} grey levels."
            )
        return self.noise * level


def _level(reverse: ReverseProcess) -> float:
    """Return one grey level in units of data."""
    return 2 / (reverse.levels - 1)
