"""Where the bits of an image are: the bound of each dimension."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import Condition, observed_of
from nelbo.diffusion import ReverseProcess, VariationalBound, mean_dims
from nelbo.display import Displayed, pngs
from nelbo.evaluation.bound import num_strata, probabilities_of_t, strata_of_t
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import SCORING, image_generators, standard_normal


@dataclass(frozen=True, eq=False)
class HeatMap(Displayed):
    """The bits of each dimension of an image, 0 where a pixel is missing. Their mean is the bound in bits/dim.

    Attributes:
        prior, denoising, decoder: (C, H, W) float64, bits: the parts of L_T, of the sum of L_{t-1}, and of L_0.
        steps_per_image: values of t >= 2 that were evaluated.
        seed: of the draws.
        observed: (C, H, W) bool, false where a pixel is missing; None if all are observed.
    """

    prior: Tensor
    denoising: Tensor
    decoder: Tensor
    steps_per_image: int
    seed: int
    observed: Tensor | None = None

    @property
    def bits(self) -> Tensor:
        """(C, H, W) float64, all terms together."""
        return self.prior + self.denoising + self.decoder

    @property
    def pixels(self) -> Tensor:
        """(H, W) float64, the bits of each pixel: the sum over its channels."""
        return self.bits.sum(0)

    @property
    def total(self) -> float:
        """The bound in bits/dim."""
        return float(mean_dims(self.bits[None], None if self.observed is None else self.observed[None]))

    def summary(self) -> Mapping[str, str]:
        """Return the bound, and the pixel with most bits."""
        pixels = self.pixels
        row, column = divmod(int(pixels.argmax()), pixels.shape[1])
        return {
            "bound": f"{self.total:.4f} bits/dim",
            "most": f"{float(pixels.max()):.2f} bits in the pixel at row {row}, column {column}",
        }

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the map, white where a pixel has most bits."""
        pixels = self.pixels.clamp(min=0)
        return {"bits of each pixel": pngs((255 * pixels / pixels.max().clamp(min=1e-9))[None, None], 256)}


@torch.no_grad()
def evaluate_heat_map(
    reverse: ReverseProcess,
    image: Tensor,
    *,
    steps_per_image: int | None = 32,
    proposal: Tensor | None = None,
    seed: int = 0,
    index: int = 0,
    progress: Progress | None = None,
    condition: Condition | None = None,
) -> HeatMap:
    """Estimate the bound of each dimension of an image (C, H, W) uint8, without a class.

    The draws are those of `evaluate_bound` for one image of a set, so that the mean of the map is its score; for an
    image with missing pixels, the mean over the observed ones.

    Args:
        condition: that of the network for the image, one example, or None.
        index: the image of the set, counted from 0.
        steps_per_image: see `evaluate_bound`.
        proposal: see `evaluate_bound`.
        progress: called with (network calls done, in total).
    """
    bound, num_steps = VariationalBound(reverse), reverse.schedule.num_steps
    x_0 = levels_to_data(image[None], reverse.levels).to(reverse.schedule.device)
    given = Condition.of(condition).to(x_0.device).simplest
    generators = image_generators(seed, index, 1, SCORING)
    steps_per_image = num_strata(steps_per_image, num_steps)
    wanted = num_steps - 1 if steps_per_image is None else steps_per_image
    done = 0

    def drawn(t: Tensor) -> Tensor:
        """Draw x_t; return the nats of each dimension, (C, H, W)."""
        nonlocal done
        at = t.to(x_0.device)
        x_t = reverse.forward_process.sample(x_0, at, standard_normal(x_0.shape, generators, x_0))
        nats = bound.step_by_dim(reverse.predict(x_t, at, given), x_0, x_t, at)[0].double().cpu()
        done += 1
        if progress is not None:
            progress(done, wanted + 2)
        return nats

    first = torch.ones(1, dtype=torch.int64)
    decoder = (drawn(first) + drawn(first)) / 2
    denoising = torch.zeros_like(decoder)
    for t, expected in strata_of_t(generators, num_steps, steps_per_image, probabilities_of_t(num_steps, proposal)):
        denoising += drawn(t) / expected
    prior = bound.prior_by_dim(x_0, given)[0].double().cpu().expand_as(decoder)
    parts = [part / math.log(2) for part in (prior, denoising, decoder)]
    seen = observed_of(given)
    mask = None if seen is None else seen[0].expand(x_0.shape[1:]).cpu()
    return HeatMap(parts[0], parts[1], parts[2], wanted, seed, mask)
