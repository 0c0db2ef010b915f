"""The likelihood by the probability-flow ODE (Song et al. 2021, section 4.3), in bits/dim beside the bound.

With y = x_t / sqrt(abar_t) and sigma = 1 / sqrt(SNR) the ODE is dy / dsigma = eps(y) (Karras et al. 2022). It carries
the density along, d log p(y) / dsigma = -div eps(y), so that with x_T ~ N(0, I) every x_t has a density of its own:

    log p(x_1) = log N(x_T; 0, I) + D log(sqrt(abar_T) / sqrt(abar_1)) + integral of sigma div eps d(log sigma)

from t = 1 to T, in D dimensions. Images lie on K levels and have no density. They are dequantised by the chain's own
first step: x_1 is a latent variable, and for any x_0

    log p(x_0) >= E_q(x_1|x_0)[log p(x_0|x_1) + log p(x_1) - log q(x_1|x_0)]

with the decoder p(x_0|x_1) of eq. 13 and the forward process q(x_1|x_0) of eq. 4, both as in the variational bound.
Only p(x_1) is another: the flow's in place of that of the chain's steps. So both bound the same quantity in the same
unit. Uniform noise over a level's bin, the usual way, would show the network an x_1 that it never saw: of a chain that
ends below a grey level, the noise at t = 1 is far narrower than a bin.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess, bits_per_dim, heun_slope, spaced_by, sum_dims
from nelbo.errors import ConfigurationError, DataError
from nelbo.probability import levels_to_data
from nelbo.randomness import LIKELIHOOD, image_generators, standard_normal

FEWEST_STEPS = 25


@dataclass(frozen=True)
class LikelihoodReport:
    """The likelihood by the flow over a set of images, in bits/dim: lower is better, as with the bound.

    Attributes:
        total: the mean over the images of the bound on -log2 p(x_0) / D that the flow gives.
        standard_error: of `total` as the mean over the population that the images are from: how they differ, and draws.
        probe_error: of `total` for these very images and their x_1, from the probes of the divergence alone; 0 with the
            exact trace, NaN with a single probe, which cannot tell.
        tolerance: how far an image may move, on average, when the steps are doubled.
        change: how far they moved at last; NaN where the schedule is too short to double anything.
        steps: of Heun's method, at last.
        calls: of the network an image, over all numbers of steps that were tried.
        probes: an image; 0 for the exact trace.
        draws: of x_1 an image.
        scores: (N,) float64, `total` of each image.
    """

    total: float
    standard_error: float
    probe_error: float
    tolerance: float
    change: float
    steps: int
    calls: int
    probes: int
    draws: int
    scores: Tensor

    @property
    def reached(self) -> bool:
        """Whether `change` is within `tolerance`; if not, every step of the schedule was taken."""
        return self.change <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """What `nelbo evaluate --ode --json` writes of it: all but the scores."""
        return {**{name: value for name, value in vars(self).items() if name != "scores"}, "reached": self.reached}


@dataclass(frozen=True)
class ProbabilityFlow:
    """The density that the ODE gives to every x_t.

    The network is asked at steps of the schedule alone. From one to the next y takes Heun's step in sigma, which is
    exact while eps stays what it is, as it does close to a level and far out in the noise. The divergence is summed by
    the trapezoid in log sigma: there the integrand sigma div eps is D near a point of the data and in pure noise, and
    smooth between.

    Attributes:
        reverse: the model; its variance has no say.
        dtype: in which the network is shown x_t. All else is summed up in that of the schedule's tables.
    """

    reverse: ReverseProcess
    dtype: torch.dtype = torch.float32

    def log_prob(self, x_t: Tensor, steps: Sequence[int], probes: Tensor, label: Tensor | None = None) -> Tensor:
        """(P, B) log-density of x_t (B, ...) at t = steps[0] by each of the probes, nats; their mean is the estimate.

        Args:
            steps: rising, within 1..T, the last one T.
            probes: (P, B, ...), see `rademacher` and `exact_probes`.
            label: int64 (B,), for a conditional network.
        """
        s = self.reverse.schedule
        log_sigma, y = s.sigma.log(), x_t.to(s.signal.dtype) / s.signal[steps[0]]
        noise, divergence = self._divergence(y, steps[0], probes, label)
        integral = torch.zeros_like(divergence)
        for here, there in itertools.pairwise(steps):
            width = s.sigma[there] - s.sigma[here]
            slope = heun_slope(y, noise, width, partial(self._slope, step=there, label=label))
            y, before = y + width * slope, divergence
            noise, divergence = self._divergence(y, there, probes, label)
            integral += (log_sigma[there] - log_sigma[here]) * (before + divergence) / 2
        x_T, scaling = y * s.signal[steps[-1]], (s.signal[steps[-1]] / s.signal[steps[0]]).log()
        return sum_dims(self.reverse.prior.log_prob(x_T) + scaling) + integral

    def _slope(self, y: Tensor, step: int, label: Tensor | None) -> Tensor:
        """dy / dsigma = eps."""
        return self._noise(y * self.reverse.schedule.signal[step], step, label)

    def _noise(self, x_t: Tensor, step: int, label: Tensor | None) -> Tensor:
        """eps, in the dtype of x_t."""
        t = torch.full((len(x_t),), step, device=x_t.device)
        return self.reverse.predict(x_t.to(self.dtype), t, label).noise.to(x_t.dtype)

    def _divergence(self, y: Tensor, step: int, probes: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """eps at y, and (P, B) v . (sigma d eps / dy) v for each of the probes v."""
        s = self.reverse.schedule
        x_t = (y * s.signal[step]).requires_grad_()
        with torch.enable_grad():
            noise = self._noise(x_t, step, label)
        if not noise.requires_grad:  # a network without weights that doesn't look at x_t
            return noise, probes.new_zeros(probes.shape[:2])
        pulled = partial(torch.autograd.grad, noise, x_t, retain_graph=True, allow_unused=True, materialize_grads=True)
        stretched = [sum_dims(pulled(v)[0] * v) for v in probes]
        return noise.detach(), s.noise_stddev[step] * torch.stack(stretched)


def refinements(log_snr: Tensor) -> list[list[int]]:
    """The grids that are tried, each with twice the steps of the one before, from t = 1 to T and evenly in log SNR.

    The last has every step there is.

    Args:
        log_snr: (T+1,), of the schedule.
    """
    most = len(log_snr) - 2
    numbers = [min(FEWEST_STEPS, max(most // 2, 1))]
    while numbers[-1] < most:
        numbers.append(min(2 * numbers[-1], most))
    return [spaced_by(log_snr, number + 1, from_first=True).tolist() if most else [1] for number in numbers]


def rademacher(num: int, shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """(num, *shape) probes of -1 and 1: the mean of v . J v is the trace of J (Hutchinson 1990)."""
    draws = [torch.randint(2, (num, *shape[1:]), generator=g, device=g.device) for g in generators]
    return (2 * torch.stack(draws, 1) - 1).to(like)


def exact_probes(shape: Sequence[int], like: Tensor) -> Tensor:
    """(D, *shape) probes of which the mean of v . J v is the very trace: the D unit vectors, sqrt(D) long."""
    num_dims = math.prod(shape[1:])
    units = math.sqrt(num_dims) * torch.eye(num_dims, dtype=like.dtype, device=like.device)
    return units.view(num_dims, 1, *shape[1:]).expand(num_dims, *shape)


@torch.no_grad()
def evaluate_likelihood(
    reverse: ReverseProcess,
    images: ImageDataset,
    *,
    labels: Tensor | None = None,
    tolerance: float = 0.01,
    probes: int = 1,
    exact: bool = False,
    draws: int = 1,
    seed: int = 0,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> LikelihoodReport:
    """The likelihood of every image of a set by the flow, with steps enough for a tolerance.

    The steps are doubled, on the same x_1 and probes, until an image moves by no more than `tolerance`, in the mean of
    absolute values: a mean of signed ones might pass through 0 by chance. This tells the error as far as the schedule
    has steps to tell it with; what the network would say between them is not asked. Nothing is extrapolated: strides
    have whole steps, so that no grid refines another evenly, and no power of their number is left to take out.

    Args:
        labels: (N,) the class of each image for a conditional network, negative for none; as for `evaluate_bound`.
        tolerance: bits/dim.
        probes: of the divergence, an image; each is a backward pass more at every step.
        exact: take the exact trace instead, a backward pass a dimension.
        draws: of x_1 an image; with the exact trace alone. More than one tighten the bound by importance weights (Burda
            et al. 2016), and a weight whose logarithm has an error of either sign is too large in the mean.
        progress: called with (image steps done, those that all numbers of steps would take together).

    Raises:
        DataError: no images, or of another number of levels than the process.
        ConfigurationError: a tolerance that is not above 0, no probe or draw, or several draws without `exact`.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(reverse.levels)
    if not tolerance > 0:
        raise ConfigurationError(f"--tolerance must be above 0 bits/dim, got {tolerance}.")
    if probes < 1 or draws < 1:
        raise ConfigurationError(f"the likelihood needs at least one probe and one draw, got {probes} and {draws}.")
    if draws > 1 and not exact:
        raise ConfigurationError(f"{draws} draws of x_1 are weighed by their densities: take exact=True, or one draw.")
    grids = refinements(reverse.schedule.log_snr.cpu())
    num_probes = None if exact else probes
    done, most = 0, len(images) * sum(map(len, grids))

    def walked(steps: Sequence[int]) -> Tensor:
        """(P, N) bits/dim by each probe."""
        nonlocal done
        log_weights = []
        for chosen in torch.arange(len(images)).split(batch_size):
            x_0 = levels_to_data(images.images(chosen), reverse.levels).to(reverse.schedule.alphas_bar.device)
            label = None if labels is None else labels[chosen].to(x_0.device)
            generators = image_generators(seed, int(chosen[0]), len(chosen), LIKELIHOOD)
            each = [_log_weight(reverse, x_0, steps, num_probes, generators, label) for _ in range(draws)]
            log_weights.append(torch.stack(each).logsumexp(0).cpu() - math.log(draws))
            done += len(chosen) * len(steps)
            if progress is not None:
                progress(done, most)
        return bits_per_dim(-torch.cat(log_weights, 1), math.prod(images.shape))

    bits, calls = torch.full((1, len(images)), math.nan), 0
    for steps in grids:
        before, bits = bits, walked(steps)
        calls += 2 * len(steps) * draws  # two a step, one at T, and the decoder's
        change = float((bits.mean(0) - before.mean(0)).abs().mean())
        if change <= tolerance:
            break
    scores, num = bits.mean(0), len(images)
    by_probes = float(bits.var(0).sum() / len(bits)) if len(bits) > 1 else math.nan
    return LikelihoodReport(
        total=float(scores.mean()),
        standard_error=float(scores.std()) / math.sqrt(num) if num > 1 else math.nan,
        probe_error=0.0 if exact else math.sqrt(by_probes) / num,
        tolerance=tolerance,
        change=change,
        steps=len(steps) - 1,
        calls=calls,
        probes=0 if exact else probes,
        draws=draws,
        scores=scores,
    )


def _log_weight(
    reverse: ReverseProcess,
    x_0: Tensor,
    steps: Sequence[int],
    probes: int | None,
    generators: Sequence[torch.Generator],
    label: Tensor | None,
) -> Tensor:
    """(P, B) log p(x_0|x_1) + log p(x_1) - log q(x_1|x_0) at one draw of x_1, by each probe; (1, B) if exact, nats."""
    first = torch.ones(len(x_0), dtype=torch.int64, device=x_0.device)
    x_1 = reverse.forward_process.sample(x_0, first, standard_normal(x_0.shape, generators, x_0))
    exact = reverse.schedule.alphas_bar.dtype
    log_q = sum_dims(reverse.forward_process.marginal(x_0.to(exact), first).log_prob(x_1.to(exact)))
    log_decoder = sum_dims(reverse.decoder(x_1, label).log_prob(x_0.to(exact)))
    like = log_q.new_empty(0)
    directions = exact_probes(x_1.shape, like) if probes is None else rademacher(probes, x_1.shape, generators, like)
    log_flow = ProbabilityFlow(reverse, x_0.dtype).log_prob(x_1, steps, directions, label)
    return (log_flow.mean(0, keepdim=True) if probes is None else log_flow) + log_decoder - log_q
