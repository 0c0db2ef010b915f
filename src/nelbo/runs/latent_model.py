"""The diffusion model of the latents of a latent diffusion model: the same chains, without levels and without range."""

from dataclasses import dataclass, replace
from typing import Any

from nelbo.errors import ConfigurationError, option
from nelbo.latent import ContinuousReverse
from nelbo.runs.diffusion_model import DiffusionModel
from nelbo.runs.sampling_options import SamplingOptions
from nelbo.samplers import Sampler


@dataclass(frozen=True)
class LatentDiffusion(DiffusionModel):
    """p_theta of scaled latents u, (B, L, h, w). Its `data` has the shape of the latents."""

    def reverse(self, **options: Any) -> ContinuousReverse:
        """Return p_theta of this model, or of a stride of its chain; see `DiffusionModel.reverse`."""
        return ContinuousReverse.of(super().reverse(**options))

    def sampler(self, options: SamplingOptions) -> Sampler:
        """Return the sampler of these options.

        Raises:
            ConfigurationError: clipping or a threshold, which need the range of pixels; or see `DiffusionModel`.
        """
        given = {"clip": options.clip or None, "threshold": options.threshold}
        for name, value in given.items():
            if value is not None:
                raise ConfigurationError(
                    f"{option(name)} limits predictions to the range of pixels, and the latents of the model "
                    f"{self.name} have none; remove it."
                )
        return super().sampler(replace(options, clip=False))
