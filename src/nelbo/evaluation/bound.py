"""The bound over images: every term in bits/dim with its standard error, and one score an image."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess, VariationalBound, bits_per_dim
from nelbo.errors import ConfigurationError, DataError
from nelbo.probability import levels_to_data
from nelbo.randomness import SCORING, image_generators, standard_normal

GREY_LEVELS = 127.5  # data in [-1, 1] counted as pixels of 0..255


@dataclass(frozen=True)
class StepBits:
    """L_{t-1} at one t: bits/dim averaged over the draws made there, whose error is told as if each had its own image.

    `t = 1` is L_0, each draw there the mean of two. `rmse` is how far xhat_0(x_t), held within the range of data, is
    from x_0, as pixels of 0..255 count.
    """

    t: int
    bits_per_dim: float
    standard_error: float
    log_snr: float
    draws: int
    rmse: float


@dataclass(frozen=True)
class BoundReport:
    """Eq. 5 over a set of images, in bits/dim.

    Attributes:
        total, prior, denoising, decoder: means over the images; total = prior + denoising + decoder.
        standard_error: of `total` as the mean over the population that the images are from: how they differ, and draws.
        draw_error: of `total` for these very images: the draws of t and noise alone, estimated from above.
        per_step: the terms by t, where t was drawn at all.
        scores: (N,) the total of each image, from its own draws.
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

    def to_json(self) -> dict[str, Any]:
        """What `nelbo evaluate --json` writes, without the version."""
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
        }


@torch.no_grad()
def evaluate_bound(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    labels: Tensor | None = None,
    steps_per_image: int | None = 8,
    proposal: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> BoundReport:
    """Estimate the bound of every image of a set, without bias.

    L_T is computed for every image, L_0 from two draws of x_1, and L_{t-1} at `steps_per_image` values of t, one from
    each of as many strata of the proposal, weighted by its inverse; or at every t if None. Every image has random
    numbers of its own, so its score depends on the seed and its place in the set alone, and not, but for a network's
    rounding, on the batch size.

    Args:
        labels: (N,) the class of each image for a conditional network, negative for none; None gives it no classes,
            and the bound is that of p(x_0), not of p(x_0|class).
        proposal: (T+1,) non-negative, how often to look at each t (entries 0 and 1 are not read): `expected_terms` of
            a calibrated process makes the estimate's variance small. None looks everywhere alike.

    Raises:
        DataError: no images, or of another number of levels than the process.
        ConfigurationError: steps_per_image below 1.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(reverse.levels)
    if steps_per_image is not None and steps_per_image < 1:
        raise ConfigurationError(f"--steps-per-image must be at least 1, got {steps_per_image}.")
    num_steps, num_dims = reverse.schedule.num_steps, math.prod(images.shape)
    probabilities = _probabilities(num_steps, proposal)
    if num_steps == 1:
        steps_per_image = 0
    elif steps_per_image is None or steps_per_image >= num_steps - 1:
        steps_per_image = None
    rows, by_step = [], torch.zeros(4, num_steps + 1, dtype=torch.float64)  # count, sum, sum of squares, x_0's error
    for start in range(0, len(images), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(images)))
        x_0 = levels_to_data(images.images(chosen), reverse.levels).to(reverse.schedule.alphas_bar.device)
        generators = image_generators(seed, start, len(chosen), SCORING)
        label = None if labels is None else labels[chosen].to(x_0.device)
        rows.append(_terms(reverse, x_0, label, generators, steps_per_image, probabilities, by_step))
        if progress is not None:
            progress(int(chosen[-1]) + 1, len(images))
    nats, variances = torch.cat(rows).split([3, 1], dim=1)
    terms = bits_per_dim(nats, num_dims)
    draw_error = bits_per_dim(variances.sum().sqrt() / len(images), num_dims).item()
    scores = terms.sum(1)
    spread = scores.std().item() / math.sqrt(len(scores)) if len(scores) > 1 else math.nan
    prior, denoising, decoder = terms.mean(0).tolist()
    return BoundReport(
        total=prior + denoising + decoder,
        prior=prior,
        denoising=denoising,
        decoder=decoder,
        standard_error=spread,
        draw_error=draw_error,
        per_step=list(_per_step(by_step, reverse, num_dims)),
        scores=scores,
        num_images=len(images),
        num_dims=num_dims,
        levels=reverse.levels,
        num_steps=num_steps,
        clip=reverse.clip,
        variance=reverse.variance.name,
        steps_per_image=num_steps - 1 if steps_per_image is None else steps_per_image,
    )


def expected_terms(reverse: ReverseProcess, mse: Tensor) -> Tensor:
    """(T+1,) what a calibrated process should pay at each t, nats a dimension: log(sigma_t^2 / betatilde_t) / 2.

    `mse` is what `calibrate` returned, by the network's own time.
    """
    s = reverse.schedule
    missed = mse.to(s.alphas_bar.device)[s.timesteps]
    terms = 0.5 * torch.log1p(s.posterior_x_0**2 * missed / s.posterior_variance)
    terms[:2] = 0
    return terms.cpu()


def _or_null(value: float) -> float | None:
    """A number as JSON has it: there is no NaN, which is what an error is that one draw can't tell."""
    return None if math.isnan(value) else value


def _probabilities(num_steps: int, proposal: Tensor | None) -> Tensor:
    """(T-1,) the probability of looking at t = 2..T: the proposal, mixed with a tenth of uniform."""
    if num_steps == 1:
        return torch.ones(0, dtype=torch.float64)
    uniform = torch.full((num_steps - 1,), 1 / (num_steps - 1), dtype=torch.float64)
    if proposal is None:
        return uniform
    wanted = proposal[2:].double()
    if float(wanted.sum()) == 0:
        return uniform
    return 0.9 * wanted / wanted.sum() + 0.1 * uniform


def _terms(
    reverse: ReverseProcess,
    x_0: Tensor,
    label: Tensor | None,
    generators: list[torch.Generator],
    steps_per_image: int | None,
    probabilities: Tensor,
    by_step: Tensor,
) -> Tensor:
    """(B, 4) float64, nats an image: L_T, the estimate of the sum of L_{t-1}, L_0, and the variance of the estimate.

    The draws are added to `by_step`.
    """
    bound, num_steps = VariationalBound(reverse), reverse.schedule.num_steps

    def look(t: Tensor) -> Tensor:
        """(2, B): nats, and the squared error of xhat_0 a dimension."""
        at = t.to(x_0.device)
        x_t = reverse.forward_process.sample(x_0, at, standard_normal(x_0.shape, generators, x_0))
        prediction = reverse.predict(x_t, at, label)
        error = (prediction.x_0.clamp(-1, 1) - x_0).flatten(1).square().mean(1)
        return torch.stack([bound.step_of(prediction, x_0, x_t, at), error]).double().cpu()

    def noted(t: Tensor, looked: Tensor) -> Tensor:
        nats, error = looked[0], looked[1]
        per_dim = nats / x_0[0].numel()
        for row, values in zip(by_step, (torch.ones_like(per_dim), per_dim, per_dim**2, error), strict=True):
            row.index_add_(0, t, values)
        return nats

    first = torch.ones(len(x_0), dtype=torch.int64)
    twice = torch.stack([look(first), look(first)])
    decoders, decoder = twice[:, 0], noted(first, twice.mean(0))
    strata = [torch.zeros(len(x_0), dtype=torch.float64)] * 2 if num_steps == 1 else []
    if steps_per_image is None:
        every = (torch.full((len(x_0),), t) for t in range(2, num_steps + 1))
        strata += [noted(t, look(t)) for t in every]
    else:
        cumulative = probabilities.cumsum(0)
        for stratum in range(steps_per_image):
            within = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators])
            index = torch.searchsorted(cumulative, (stratum + within) / steps_per_image, right=True)
            index = index.clamp(max=num_steps - 2)
            t = index + 2
            strata.append(noted(t, look(t)) / (steps_per_image * probabilities[index]))
    parts = torch.stack(strata)
    variance = decoders.diff(dim=0).square().squeeze(0) / 4 + _variance_of_sum(parts)
    return torch.stack([bound.prior(x_0).double().cpu(), parts.sum(0), decoder, variance], 1)


def _variance_of_sum(parts: Tensor) -> Tensor:
    """(B,) the variance of the sum of strata (S, B) that were drawn from once each, estimated from above.

    One draw can't tell its own variance, so it is taken from its neighbours: half the squared differences, those at
    either end counted twice. That is the variance at the least, and more by how much the strata differ.
    """
    if len(parts) == 1:
        return torch.full_like(parts[0], math.nan)
    squares = parts.diff(dim=0).square()
    return (squares.sum(0) + squares[0] + squares[-1]) / 2


def _per_step(by_step: Tensor, reverse: ReverseProcess, num_dims: int) -> Iterator[StepBits]:
    log_snr = reverse.schedule.log_snr.cpu()
    for t in range(1, reverse.schedule.num_steps + 1):
        count, total, squares, missed = by_step[:, t].tolist()
        if count == 0:
            continue
        mean = total / count
        variance = max(squares / count - mean**2, 0.0) * count / (count - 1) if count > 1 else math.nan
        error = math.sqrt(variance / count) / math.log(2)
        rmse = math.sqrt(missed / count) * GREY_LEVELS
        yield StepBits(t, mean / math.log(2), error, float(log_snr[t]), int(count), rmse)
