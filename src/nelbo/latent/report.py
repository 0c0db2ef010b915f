"""The record of a latent diffusion model's bound over images: every term in bits/dim, and one score per image."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nelbo.display import Scored, counted, with_error

TERMS = ("reconstruction", "encoder", "prior", "denoising", "last_step", "scaling")


@dataclass(frozen=True)
class LatentReport(Scored):
    """The bound on -log2 p(x_0) of a set of images, in bits per dimension of the pixels.

    Attributes:
        total: mean over the images, the sum of the terms below.
        reconstruction: -log p(x|z), a mass of the levels.
        encoder: E[log q(z|x)], a density.
        prior, denoising, last_step: the chain's bound on -log p(u): L_T, the sum of L_{t-1}, and -log p(u_0|u_1), a
            density, which can be negative.
        scaling: log |det dz/du|, from the unit variance of u to z.
        standard_error: of `total` as the mean over the population of the images; it covers the images and the draws.
        draw_error: of `total` for these images; it covers the draws of z, t and noise only. NaN with one draw each.
        scores: (N,) the total of each image, from its own draws.
        num_images, num_dims, levels, num_steps: N, C * H * W, K and T.
        latent_dims: L * h * w.
        variance: name of the variance of the reverse process.
        steps_per_image: values of t >= 2 evaluated per draw of z.
        draws: draws of z per image.
        seed: of the draws.
    """

    total: float
    reconstruction: float
    encoder: float
    prior: float
    denoising: float
    last_step: float
    scaling: float
    standard_error: float
    draw_error: float
    scores: Tensor
    num_images: int
    num_dims: int
    levels: int
    num_steps: int
    latent_dims: int
    variance: str
    steps_per_image: int
    draws: int
    seed: int | None = None

    @property
    def rate(self) -> float:
        """The bits/dim of z: all terms except the reconstruction."""
        return self.total - self.reconstruction

    def summary(self) -> Mapping[str, str]:
        """Return the bound, its terms, and how they were drawn."""
        chain = f"L_T {self.prior:.4f}, denoising {self.denoising:.4f}, p(z_0|z_1) {self.last_step:.4f}"
        every = self.num_steps - 1
        return {
            "bound": f"{with_error(self.total, self.standard_error)}, {counted(self.num_images, 'image')}",
            "terms": f"reconstruction {self.reconstruction:.4f}, rate of z {self.rate:.4f} bits/dim",
            "rate": f"E[log q(z|x)] {self.encoder:.4f}, {chain}, scaling {self.scaling:.4f} bits/dim",
            "draws": (
                f"{counted(self.draws, 'draw')} of z per image with {self.steps_per_image} of {every} values of t, "
                f"seed {self.seed}"
            ),
            "variance": self.variance,
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `nelbo evaluate` writes them to JSON, without the version."""
        bits = {part: _or_null(getattr(self, part)) for part in ("total", *TERMS, "standard_error")}
        rest = ("num_images", "num_dims", "levels", "num_steps", "latent_dims", "variance", "steps_per_image", "draws")
        return {
            "bits_per_dim": {**bits, "rate": self.rate},
            "draw_error": _or_null(self.draw_error),
            **{name: getattr(self, name) for name in rest},
        }


def _or_null(value: float) -> float | None:
    """Return the value, or None for NaN, which JSON lacks."""
    return None if math.isnan(value) else value
