"""The likelihood by the probability-flow ODE (Song et al. 2021, section 4.3), in bits/dim like the bound.

With y = x_t / sqrt(abar_t) and sigma = 1 / sqrt(SNR) the ODE is dy / dsigma = eps(y) (Karras et al. 2022). The density
changes along it by d log p(y) / dsigma = -div eps(y), so with x_T ~ N(0, I) every x_t has a density:

    log p(x_1) = log N(x_T; 0, I) + D log(sqrt(abar_T) / sqrt(abar_1)) + integral of sigma div eps d(log sigma)

from t = 1 to T, in D dimensions. Images lie on K levels and have no density. The first step of the chain dequantises
them: x_1 is a latent variable, and for any x_0

    log p(x_0) >= E_q(x_1|x_0)[log p(x_0|x_1) + log p(x_1) - log q(x_1|x_0)]

with the decoder p(x_0|x_1) of eq. 13 and the forward process q(x_1|x_0) of eq. 4, both as in the variational bound.
Only p(x_1) differs: here it is the density of the flow, there that of the chain's reverse steps. So both bound the same
quantity in the same unit. The usual dequantisation, uniform noise over the bin of a level, would give the network an
x_1 unlike those in training: if the noise at t = 1 is smaller than a grey level, it is far narrower than a bin.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from nelbo.condition import ConditionLike, hidden, observed_of
from nelbo.data import ImageDataset
from nelbo.diffusion import ReverseProcess, bits_per_dim, heun_slope, num_dims, spaced_by, sum_dims
from nelbo.display import Scored, counted, with_error
from nelbo.errors import ConfigurationError, DataError, option, shown
from nelbo.evaluation.conditions import condition_of
from nelbo.options import check_whole
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import LIKELIHOOD, image_generators, standard_normal

FEWEST_STEPS = 25


@dataclass(frozen=True)
class LikelihoodReport(Scored):
    """The likelihood by the flow over a set of images, in bits/dim; lower is better, as for the bound.

    Attributes:
        total: mean over the images of the flow's bound on -log2 p(x_0) / D.
        standard_error: of `total` as an estimate for the population of the images: the spread of the images and of the
            draws.
        probe_error: of `total` for these images and their x_1, from the probes of the divergence alone; 0 with the
            exact trace, NaN with a single probe, which has no spread.
        tolerance: largest accepted `change`, bits/dim.
        change: mean absolute change of an image's score when the steps were last doubled; NaN if the schedule is too
            short to double them.
        steps: steps of Heun's method in the final result.
        calls: calls of the network per image, over all step counts tried.
        probes: probes per image; 0 for the exact trace.
        draws: draws of x_1 per image.
        scores: (N,) float64, the bound of each image.
        seed: of the draws.
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
    seed: int | None = None

    def summary(self) -> Mapping[str, str]:
        """Return the likelihood, and how it was computed."""
        probes = counted(self.probes, "probe") if self.probes else "exact trace"
        within = "within" if self.reached else "NOT within"
        return {
            "likelihood": f"{with_error(self.total, self.standard_error)}, {counted(len(self.scores), 'image')}",
            "steps": f"{self.steps}, {self.calls} network calls per image",
            "draws": f"{counted(self.draws, 'draw')} of x_1, {probes}, seed {self.seed}",
            "change": f"{self.change:.4f} bits/dim when the steps were last doubled, {within} {self.tolerance:g}",
        }

    @property
    def reached(self) -> bool:
        """Whether `change` is within `tolerance`; if not, the result uses every step of the schedule."""
        return self.change <= self.tolerance

    def to_json(self) -> dict[str, Any]:
        """Return plain values, without the scores, as `nelbo evaluate` writes them to JSON."""
        return {**{name: value for name, value in vars(self).items() if name != "scores"}, "reached": self.reached}


@dataclass(frozen=True)
class ProbabilityFlow:
    """The density that the ODE defines for every x_t.

    The network is evaluated only at steps of the schedule. Between them y takes a step of Heun's method in sigma, which
    is exact while eps is constant, as it is close to a level and in nearly pure noise. The divergence is integrated by
    the trapezoidal rule in log sigma: there the integrand sigma div eps is D near a point of the data and in pure
    noise, and smooth in between.

    Attributes:
        reverse: the model; its variance is not used.
        dtype: dtype of x_t at the input of the network. Everything else is computed in the dtype of the schedule's
            tables.
    """

    reverse: ReverseProcess
    dtype: torch.dtype = torch.float32

    def log_prob(self, x_t: Tensor, steps: Sequence[int], probes: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return the log-density of x_t (B, ...) at t = steps[0] by each probe: (P, B) nats, to be averaged over P.

        Args:
            steps: increasing, within 1..T, ending with T.
            probes: (P, B, ...), see `rademacher` and `exact_probes`.
            label: int64 (B,) or a `nelbo.condition.Condition`, for a conditional network.
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
        return sum_dims(self.reverse.prior.log_prob(x_T) + scaling, observed_of(label)) + integral

    def _slope(self, y: Tensor, step: int, label: ConditionLike | None) -> Tensor:
        """dy / dsigma = eps."""
        return self._noise(y * self.reverse.schedule.signal[step], step, label)

    def _noise(self, x_t: Tensor, step: int, label: ConditionLike | None) -> Tensor:
        """Return eps in the dtype of x_t, 0 where pixels are missing: those have no flow."""
        t = torch.full((len(x_t),), step, device=x_t.device)
        noise = self.reverse.predict(x_t.to(self.dtype), t, label).noise
        return hidden(noise, observed_of(label)).to(x_t.dtype)

    def _divergence(self, y: Tensor, step: int, probes: Tensor, label: ConditionLike | None) -> tuple[Tensor, Tensor]:
        """Return eps at y, and v . (sigma d eps / dy) v for each probe v: (P, B)."""
        s = self.reverse.schedule
        x_t = (y * s.signal[step]).requires_grad_()
        with torch.enable_grad():
            noise = self._noise(x_t, step, label)
        if not noise.requires_grad:  # a network without weights that ignores x_t
            return noise, probes.new_zeros(probes.shape[:2])
        pulled = partial(torch.autograd.grad, noise, x_t, retain_graph=True, allow_unused=True, materialize_grads=True)
        stretched = [sum_dims(pulled(v)[0] * v) for v in probes]
        return noise.detach(), s.noise_stddev[step] * torch.stack(stretched)


def refinements(log_snr: Tensor) -> list[list[int]]:
    """Return the grids to try, from t = 1 to T, evenly spaced in log SNR, each with twice the steps of the previous.

    The last grid has every step of the schedule.

    Args:
        log_snr: (T+1,) of the schedule.
    """
    most = len(log_snr) - 2
    numbers = [min(FEWEST_STEPS, max(most // 2, 1))]
    while numbers[-1] < most:
        numbers.append(min(2 * numbers[-1], most))
    return [spaced_by(log_snr, number + 1, from_first=True).tolist() if most else [1] for number in numbers]


def rademacher(num: int, shape: Sequence[int], generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """Draw probes of -1 and 1, (num, *shape): the expectation of v . J v is the trace of J (Hutchinson 1990)."""
    draws = [torch.randint(2, (num, *shape[1:]), generator=g, device=g.device) for g in generators]
    return (2 * torch.stack(draws, 1) - 1).to(like)


def exact_probes(shape: Sequence[int], like: Tensor) -> Tensor:
    """Return the D unit vectors times sqrt(D), (D, *shape): the mean of v . J v over them is exactly the trace of J."""
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
    progress: Progress | None = None,
) -> LikelihoodReport:
    """Estimate the likelihood of every image of a set by the flow, with enough steps for a tolerance.

    The steps are doubled, with the same x_1 and probes, until the scores change by at most `tolerance`, as the mean of
    the absolute changes: a mean of signed changes might be 0 by chance. The change measures the error between grids of
    the schedule; the network is not evaluated between the schedule's steps. There is no extrapolation: a grid holds
    whole steps of the schedule, so a finer grid does not halve the intervals of a coarser one exactly, and the error
    does not follow a power of the number of steps.

    Args:
        labels: (N,) class of each image for a conditional network, negative for none; see `evaluate_bound`.
        tolerance: bits/dim.
        probes: probes of the divergence per image; each adds a backward pass at every step.
        exact: compute the exact trace instead, with one backward pass per dimension.
        draws: draws of x_1 per image. More than one tightens the bound by importance weights (Burda et al. 2016). They
            need the exact trace: a symmetric error in the logarithm of a weight makes the weight too large on average.
        progress: called with (image steps done, image steps of all grids together).

    Raises:
        DataError: there are no images, or they have another number of levels than the process.
        ConfigurationError: the tolerance is not above 0, there is no probe or draw, or several draws without `exact`.
    """
    if len(images) == 0:
        raise DataError(f"{images.name} has no images to score.")
    images.require_levels(reverse.levels)
    for name, value in (("probes", probes), ("draws", draws), ("batch_size", batch_size)):
        check_whole(name, value)
    if not isinstance(tolerance, int | float) or not tolerance > 0:
        raise ConfigurationError(f"{option('tolerance')} must be above 0 bits/dim, got {shown(tolerance)}.")
    if draws > 1 and not exact:
        raise ConfigurationError(
            f"{draws} draws of x_1 are weighted by their densities, which need the exact trace: use exact=True, or "
            "draws=1."
        )
    grids = refinements(reverse.schedule.log_snr.cpu())
    num_probes = None if exact else probes
    done, most = 0, len(images) * sum(map(len, grids))

    def scores_on(steps: Sequence[int]) -> Tensor:
        """Return the scores on a grid of steps, by each probe: (P, N) bits/dim."""
        nonlocal done
        scores = []
        for chosen in torch.arange(len(images)).split(batch_size):
            x_0 = levels_to_data(images.images(chosen), reverse.levels).to(reverse.schedule.device)
            label = condition_of(images, chosen, labels, x_0.device)
            generators = image_generators(seed, int(chosen[0]), len(chosen), LIKELIHOOD)
            each = [_log_weight(reverse, x_0, steps, num_probes, generators, label) for _ in range(draws)]
            nats = math.log(draws) - torch.stack(each).logsumexp(0)
            scores.append(bits_per_dim(nats, num_dims(x_0, observed_of(label))).cpu())
            done += len(chosen) * len(steps)
            if progress is not None:
                progress(done, most)
        return torch.cat(scores, 1)

    bits, calls = torch.full((1, len(images)), math.nan), 0
    for steps in grids:
        before, bits = bits, scores_on(steps)
        calls += 2 * len(steps) * draws  # two per step, one at t = 1, one for the decoder
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
        seed=seed,
    )


def _log_weight(
    reverse: ReverseProcess,
    x_0: Tensor,
    steps: Sequence[int],
    probes: int | None,
    generators: Sequence[torch.Generator],
    label: ConditionLike | None,
) -> Tensor:
    """Draw x_1 and return log p(x_0|x_1) + log p(x_1) - log q(x_1|x_0), nats.

    Returns:
        (P, B), one row per probe, or (1, B) with the exact trace.
    """
    first = torch.ones(len(x_0), dtype=torch.int64, device=x_0.device)
    x_1 = reverse.forward_process.sample(x_0, first, standard_normal(x_0.shape, generators, x_0))
    exact = reverse.schedule.alphas_bar.dtype
    seen = observed_of(label)
    log_q = sum_dims(reverse.forward_process.marginal(x_0.to(exact), first).log_prob(x_1.to(exact)), seen)
    log_decoder = sum_dims(reverse.decoder(x_1, label).log_prob(x_0.to(exact)), seen)
    like = log_q.new_empty(0)
    directions = exact_probes(x_1.shape, like) if probes is None else rademacher(probes, x_1.shape, generators, like)
    log_flow = ProbabilityFlow(reverse, x_0.dtype).log_prob(x_1, steps, directions, label)
    return (log_flow.mean(0, keepdim=True) if probes is None else log_flow) + log_decoder - log_q
