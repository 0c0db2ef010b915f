"""The record of a bound over images: every term in bits/dim with its standard error, and one score per image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from nelbo.display import Frame, Scored, bars, counted, data_frame, with_error
from nelbo.options import known


@dataclass(frozen=True)
class StepBits:
    """L_{t-1} at one t, averaged over the draws at that t.

    Attributes:
        t: 1 for L_0, where each draw is the mean of two.
        bits_per_dim: the mean of the draws.
        standard_error: of the mean; treats the draws as independent, even if several belong to one image.
        log_snr: log SNR at t.
        draws: number of draws.
        rmse: root of the mean squared error of xhat_0(x_t), clipped to [-1, 1], on the pixel scale 0..255.
    """

    t: int
    bits_per_dim: float
    standard_error: float
    log_snr: float
    draws: int
    rmse: float


@dataclass(frozen=True)
class BoundReport(Scored):
    """Eq. 5 over a set of images, in bits/dim.

    Attributes:
        total, prior, denoising, decoder: means over the images; total = prior + denoising + decoder.
        standard_error: of `total` as an estimate for the population of the images: the spread of the images and of the
            draws.
        draw_error: of `total` for these images alone: the spread of the draws of t and noise, an upper estimate.
        per_step: the terms at each t that was drawn.
        scores: (N,) the total of each image, from its own draws.
        num_images, num_dims, levels, num_steps: N, C * H * W, K and T.
        clip: whether xhat_0 was clipped to [-1, 1].
        variance: name of the variance of the reverse process.
        steps_per_image: values of t >= 2 evaluated per image.
        seed: of the draws.
        observed: mean share of the dimensions that are not missing; each score is per observed dimension.
    """

    total: float
    prior: float
    denoising: float
    decoder: float
    standard_error: float
    draw_error: float
    per_step: list[StepBits]
    scores: Tensor
    num_images: int
    num_dims: int
    levels: int
    num_steps: int
    clip: bool
    variance: str
    steps_per_image: int
    seed: int | None = None
    observed: float = 1.0

    @property
    def chain(self) -> float:
        """The bound without L_0, prior + denoising: the bits that describe x_1."""
        return self.prior + self.denoising

    def summary(self) -> Mapping[str, str]:
        """Return the bound, its terms, and how they were drawn."""
        every, clipped = self.num_steps - 1, ", xhat_0 clipped" if self.clip else ""
        seen = {} if self.observed == 1 else {"observed": f"{self.observed:.1%} of the pixels; bits per observed one"}
        return {
            "bound": f"{with_error(self.total, self.standard_error)}, {counted(self.num_images, 'image')}",
            "terms": f"prior {self.prior:.4f}, denoising {self.denoising:.4f}, decoder {self.decoder:.4f} bits/dim",
            "draws": f"{self.steps_per_image} of {every} values of t per image, seed {self.seed}",
            "variance": f"{self.variance}{clipped}",
            **seen,
        }

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the bound at each t, and a histogram of the scores."""
        bits = [step.bits_per_dim for step in self.per_step]
        if len(bits) < 2:
            return super().pictures()
        first, last = self.per_step[0].t, self.per_step[-1].t
        where = f"from t = {first} (left) to {last} (right)"
        caption = f"bits/dim at each t that was drawn, {where}; the largest is {max(bits):.4g}"
        return {caption: [bars(bits)], **super().pictures()}

    def to_pandas(self, table: str = "scores") -> Frame:
        """Return a table of the report as a data frame of pandas.

        Args:
            table: "scores" has a row for each image, "steps" a row for each t with the fields of `StepBits`.

        Raises:
            ConfigurationError: an unknown table, or pandas is not installed.
        """
        if known(table, ("scores", "steps"), "table") == "steps":
            return data_frame([asdict(step) for step in self.per_step])
        return super().to_pandas()

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `nelbo evaluate` writes them to JSON, without the version."""
        parts = ("total", "prior", "denoising", "decoder", "standard_error")
        return {
            "bits_per_dim": {part: _or_null(getattr(self, part)) for part in parts},
            "draw_error": _or_null(self.draw_error),
            "per_step": [{key: _or_null(value) for key, value in asdict(step).items()} for step in self.per_step],
            "num_images": self.num_images,
            "num_dims": self.num_dims,
            "levels": self.levels,
            "num_steps": self.num_steps,
            "clip": self.clip,
            "variance": self.variance,
            "steps_per_image": self.steps_per_image,
            **({} if self.observed == 1 else {"observed": self.observed}),
        }


def _or_null(value: float) -> float | None:
    """Return the value, or None for NaN, which JSON lacks; the standard error of a single draw is NaN."""
    return None if math.isnan(value) else value
