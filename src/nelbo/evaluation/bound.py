"""The bound over images: every term with its standard error, and one score per image."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from nelbo.condition import ConditionLike, observed_of
from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess, VariationalBound, bits_per_dim, mean_dims, num_dims
from nelbo.errors import DataError
from nelbo.evaluation.bound_report import BoundReport
from nelbo.evaluation.bound_sums import MeasuredBound, empty_steps
from nelbo.evaluation.conditions import condition_of
from nelbo.options import check_whole
from nelbo.progress import Progress
from nelbo.randomness import SCORING, image_generators, standard_normal


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
    progress: Progress | None = None,
) -> BoundReport:
    """Estimate the bound of every image of a set, without bias: see `measure_bound`, which has the same arguments."""
    measured = measure_bound(
        reverse,
        images,
        labels=labels,
        steps_per_image=steps_per_image,
        proposal=proposal,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    strata = num_strata(steps_per_image, reverse.schedule.num_steps)
    return measured.sums.report(reverse, measured.scores, math.prod(images.shape), strata, seed)


@torch.no_grad()
def measure_bound(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    first: int = 0,
    labels: Tensor | None = None,
    steps_per_image: int | None = 8,
    proposal: Tensor | None = None,
    seed: int = 0,
    batch_size: int = 64,
    progress: Progress | None = None,
) -> MeasuredBound:
    """Estimate the terms of the bound of every image of a set, or of a part of it, without bias.

    L_T is exact for every image. L_0 is the mean of two draws of x_1. The sum of L_{t-1} over t = 2..T is estimated
    from `steps_per_image` values of t: the proposal is divided into that many strata of equal probability, one t is
    drawn from each, and its term is divided by the expected number of draws of that t. Every image has its own random
    numbers, so its score depends on the seed and on its index in the set. It does not depend on the batch size, except
    for rounding in the network; a part that begins with a whole batch has the batches of the set, and equal scores. Of
    an image with missing pixels, only the observed ones count: its score is their bound per observed dimension.

    The condition of the network is that of `images.condition`, without classes.

    Args:
        first: index of the first image in the set of which `images` are a part.
        labels: (N,) class of each image for a conditional network, negative for none. None evaluates the network
            without classes: the bound of p(x_0) instead of p(x_0|class).
        steps_per_image: values of t per image; None evaluates every t.
        proposal: (T+1,) non-negative weights of the values of t (entries 0 and 1 are not used); a tenth of uniform is
            mixed in. `expected_terms` of a calibrated process reduces the variance of the estimate. None is uniform.
        progress: called with (images done, images in total).

    Raises:
        DataError: there are no images, or they have another number of levels than the process.
        ConfigurationError: `steps_per_image` or `batch_size` is no whole number, at least 1.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(reverse.levels)
    check_whole("batch_size", batch_size)
    if steps_per_image is not None:
        check_whole("steps_per_image", steps_per_image)
    num_steps = reverse.schedule.num_steps
    probabilities = probabilities_of_t(num_steps, proposal)
    steps_per_image = num_strata(steps_per_image, num_steps)
    rows, by_step = [], empty_steps(num_steps)
    for start in range(0, len(images), batch_size):
        chosen = torch.arange(start, min(start + batch_size, len(images)))
        x_0 = reverse.data_of(images.images(chosen)).to(reverse.schedule.device)
        generators = image_generators(seed, first + start, len(chosen), SCORING)
        label = condition_of(images, chosen, labels, x_0.device)
        rows.append(_terms(reverse, x_0, label, generators, steps_per_image, probabilities, by_step))
        if progress is not None:
            progress(int(chosen[-1]) + 1, len(images))
    nats, variances, dims = torch.cat(rows).split([3, 1, 1], dim=1)
    squared_bits = bits_per_dim(bits_per_dim(variances, dims), dims).squeeze(1)
    return MeasuredBound(bits_per_dim(nats, dims), squared_bits, by_step, dims.squeeze(1))


def expected_terms(reverse: ReverseProcess, mse: Tensor) -> Tensor:
    """Return the expected L_{t-1} of a calibrated process: (T+1,) nats per dimension, log(sigma_t^2 / betatilde_t) / 2.

    Entries 0 and 1 are 0.

    Args:
        mse: the result of `calibrate`, indexed by t of the full schedule.
    """
    s = reverse.schedule
    missed = mse.to(s.device)[s.timesteps]
    terms = 0.5 * torch.log1p(s.posterior_x_0**2 * missed / s.posterior_variance)
    terms[:2] = 0
    return terms.cpu()


def probabilities_of_t(num_steps: int, proposal: Tensor | None) -> Tensor:
    """Return the probabilities of t = 2..T, (T-1,): nine tenths of the proposal and one tenth of uniform."""
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
    label: ConditionLike | None,
    generators: list[torch.Generator],
    steps_per_image: int | None,
    probabilities: Tensor,
    by_step: Tensor,
) -> Tensor:
    """Estimate the terms of a batch, and add the draws to `by_step`.

    Returns:
        (B, 5) float64, nats per image: L_T, the estimate of the sum of L_{t-1}, L_0, and the variance of the estimate;
        then the observed dimensions of the image.
    """
    bound, num_steps, seen = VariationalBound(reverse), reverse.schedule.num_steps, observed_of(label)
    dims = torch.as_tensor(num_dims(x_0, seen), dtype=torch.float64).cpu().expand(len(x_0))

    def drawn(t: Tensor) -> Tensor:
        """Draw x_t; return (2, B): nats per image, and the squared error of xhat_0 per dimension."""
        at = t.to(x_0.device)
        x_t = reverse.forward_process.sample(x_0, at, standard_normal(x_0.shape, generators, x_0))
        prediction = reverse.predict(x_t, at, label)
        error = mean_dims((prediction.x_0.clamp(-1, 1) - x_0).square(), seen)
        return torch.stack([bound.step_of(prediction, x_0, x_t, at), error]).double().cpu()

    def recorded(t: Tensor, draws: Tensor) -> Tensor:
        """Add the draws to `by_step`; return their nats."""
        nats, error = draws[0], draws[1]
        per_dim = nats / dims
        for row, values in zip(by_step, (torch.ones_like(per_dim), per_dim, per_dim**2, error), strict=True):
            row.index_add_(0, t, values)
        return nats

    first = torch.ones(len(x_0), dtype=torch.int64)
    twice = torch.stack([drawn(first), drawn(first)])
    decoders, decoder = twice[:, 0], recorded(first, twice.mean(0))
    strata = [torch.zeros(len(x_0), dtype=torch.float64)] * 2 if num_steps == 1 else []
    for t, expected in strata_of_t(generators, num_steps, steps_per_image, probabilities):
        strata.append(recorded(t, drawn(t)) / expected)
    parts = torch.stack(strata)
    variance = decoders.diff(dim=0).square().squeeze(0) / 4 + _variance_of_sum(parts)
    return torch.stack([bound.prior(x_0, label).double().cpu(), parts.sum(0), decoder, variance, dims], 1)


def num_strata(steps_per_image: int | None, num_steps: int) -> int | None:
    """Return the number of strata, or None where every t = 2..T is evaluated; 0 for a chain of one step."""
    if num_steps == 1:
        return 0
    return None if steps_per_image is None or steps_per_image >= num_steps - 1 else steps_per_image


def strata_of_t(
    generators: list[torch.Generator], num_steps: int, steps_per_image: int | None, probabilities: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield t >= 2 for each image, (B,) int64, and the expected number of draws of this t, (B,).

    The caller draws the noise of each t before it asks for the next one: both come from the image's own generator.

    Args:
        steps_per_image: number of strata; None yields every t.
        probabilities: (T-1,) of t = 2..T.
    """
    if steps_per_image is None:
        for each in range(2, num_steps + 1):
            yield torch.full((len(generators),), each), torch.ones(len(generators), dtype=torch.float64)
        return
    cumulative = probabilities.cumsum(0)
    for stratum in range(steps_per_image):
        within = torch.stack([torch.rand((), generator=g, dtype=torch.float64) for g in generators])
        index = torch.searchsorted(cumulative, (stratum + within) / steps_per_image, right=True)
        index = index.clamp(max=num_steps - 2)
        yield index + 2, steps_per_image * probabilities[index]


def _variance_of_sum(parts: Tensor) -> Tensor:
    """Estimate the variance of the sum of strata (S, B) with one draw each: (B,), NaN for a single stratum.

    A single draw has no spread, so the estimate uses neighbouring strata: half the sum of the squared differences
    between them, with the first and the last difference counted twice. Its expectation is at least the variance.
    """
    if len(parts) == 1:
        return torch.full_like(parts[0], math.nan)
    squares = parts.diff(dim=0).square()
    return (squares.sum(0) + squares[0] + squares[-1]) / 2
