"""The density of the flow against a known density, and its bound against known bits.

Statistical checks use |z| < 4.5 with fixed seeds (false alarm rate 1 in 150,000 each).
"""

import itertools
import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nelbo.data import ArrayDataset
from nelbo.diffusion import (
    DataPrediction,
    FixedLarge,
    FixedSmall,
    NoiseSchedule,
    ReverseProcess,
    Variance,
    bits_per_dim,
    sum_dims,
)
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import ProbabilityFlow, evaluate_bound, evaluate_likelihood
from nelbo.evaluation.likelihood import exact_probes, rademacher, refinements
from nelbo.probability import Mixture, levels_to_data
from nelbo.randomness import LIKELIHOOD, image_generators, standard_normal
from tests.diffusion.oracle import GaussianData, z_score
from tests.evaluation.test_bound import ClassOracle

SCHEDULE = NoiseSchedule.log_linear(600, 8.0, -18.0)
DOUBLE = torch.empty(0, dtype=torch.float64)


def exact_network(data: Mixture, schedule: NoiseSchedule = SCHEDULE):
    """Return E[x_0|x_t] as a differentiable function."""

    def best(x_t: Tensor, time: Tensor) -> Tensor:
        step = int(time[0])
        return data.given(x_t, float(schedule.signal[step]), float(schedule.noise_stddev[step])).mean.to(x_t.dtype)

    return best


def flow_of(data: Mixture, schedule: NoiseSchedule = SCHEDULE) -> ProbabilityFlow:
    return ProbabilityFlow(ReverseProcess(exact_network(data, schedule), schedule, DataPrediction()), torch.float64)


def noisy(data: Mixture, step: int, num: int, seed: int = 0) -> Tensor:
    """Draw x_t ~ q(x_t), float64."""
    g = torch.Generator().manual_seed(seed)
    centre = data.centres[torch.multinomial(data.weights.double(), num, replacement=True, generator=g)]
    x_0, z = (torch.randn(centre.shape, generator=g, dtype=torch.float64) for _ in range(2))
    x_0 = centre + math.sqrt(data.variance) * x_0
    return SCHEDULE.signal[step] * x_0 + SCHEDULE.noise_stddev[step] * z


def random_mixture(num_dims: int, components: int, variance: float) -> Mixture:
    g = torch.Generator().manual_seed(num_dims)
    centres = torch.rand(components, num_dims, 1, 1, generator=g, dtype=torch.float64) * 1.6 - 0.8
    weights = torch.rand(components, generator=g, dtype=torch.float64) + 0.2
    return Mixture(centres, weights / weights.sum(), variance)


DATA = {
    "gaussian-1": random_mixture(1, 1, 0.09),
    "gaussian-2": random_mixture(2, 1, 0.3),
    "gaussian-16": random_mixture(16, 1, 0.01),
    "mixture-1": random_mixture(1, 3, 0.01),
    "mixture-2": random_mixture(2, 5, 0.02),
    "mixture-16": random_mixture(16, 6, 0.05),
}


@pytest.mark.parametrize("step", [1, 100])
@pytest.mark.parametrize("data", DATA.values(), ids=DATA.keys())
def test_density_is_exact(data: Mixture, step: int):
    """Exact score and trace, from t = 1 and from t = 100: each of 100 points within 1e-3 bits/dim."""
    x_t = noisy(data, step, 100)
    steps = list(range(step, SCHEDULE.num_steps + 1))
    log_flow = flow_of(data).log_prob(x_t, steps, exact_probes(x_t.shape, DOUBLE)).mean(0)
    true = data.log_prob(x_t, float(SCHEDULE.signal[step]), float(SCHEDULE.noise_stddev[step]))
    error = bits_per_dim(log_flow - true, data.centres[0].numel())
    assert float(error.abs().max()) < 1e-3 and float(error.abs().mean()) < 2e-4


def test_error_is_second_order():
    data, errors = DATA["mixture-2"], []
    x_t = noisy(data, 1, 100)
    true = data.log_prob(x_t, float(SCHEDULE.signal[1]), float(SCHEDULE.noise_stddev[1]))
    for stride in (599 // 2, 599 // 4, 599 // 8):  # intervals of 2, 4 and 8 steps, and a remainder
        steps = [1, *range(600 - (stride - 1) * (599 // stride), 601, 599 // stride)]
        log_flow = flow_of(data).log_prob(x_t, steps, exact_probes(x_t.shape, DOUBLE)).mean(0)
        errors.append(float((log_flow - true).square().mean().sqrt()))
    assert 3 < errors[1] / errors[0] < 5 and 3 < errors[2] / errors[1] < 5


def test_probes_are_unbiased():
    """Correlated dimensions, 300 probes at each of 20 points: against the exact trace over the same steps."""
    data, steps = DATA["mixture-16"], [*range(1, 601, 30), 600]
    x_t, flow = noisy(data, 1, 20), flow_of(data)
    exact = flow.log_prob(x_t, steps, exact_probes(x_t.shape, DOUBLE)).mean(0)
    drawn = flow.log_prob(x_t, steps, rademacher(300, x_t.shape, image_generators(0, 0, 20), DOUBLE))
    off = drawn - exact
    assert abs(z_score(off.flatten(), 0.0)) < 4.5
    assert float(off.std()) > 0.1  # the probes do vary


def test_probes_are_signs_seeded_per_image():
    together = rademacher(50, (4, 3, 2, 2), image_generators(1, 0, 4), DOUBLE)
    apart = [rademacher(50, (2, 3, 2, 2), image_generators(1, first, 2), DOUBLE) for first in (0, 2)]
    assert together.shape == (50, 4, 3, 2, 2) and torch.equal(torch.cat(apart, 1), together)
    assert together.abs().eq(1).all() and abs(z_score(together.flatten(), 0.0)) < 4.5
    assert not torch.equal(together[:, 0], together[:, 1])


def test_exact_probes_give_the_trace():
    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    probes = exact_probes((1, 3, 2, 2), DOUBLE).flatten(1)
    torch.testing.assert_close((probes @ matrix * probes).sum(1).mean(), matrix.trace())


@pytest.mark.parametrize("num_steps", [1, 2, 3, 40, 1000])
def test_refinements_end_with_every_step(num_steps: int):
    grids = refinements(NoiseSchedule.cosine(num_steps).log_snr)
    assert grids[-1] == list(range(1, num_steps + 1))
    assert all(grid[0] == 1 and grid[-1] == num_steps and grid == sorted(set(grid)) for grid in grids)
    sizes = [len(grid) - 1 for grid in grids]
    assert all(later in (2 * size, num_steps - 1) for size, later in itertools.pairwise(sizes))
    assert sizes[0] == {1: 0, 2: 1, 3: 1, 40: 19, 1000: 25}[num_steps]


# ---------------------------------------------------------------- images
LEVELS = torch.randint(17, (7, 1, 2, 2), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
LEVELS = torch.cat([LEVELS, LEVELS[:1]])  # one of them twice
POINTS = Mixture.of_points(levels_to_data(LEVELS, 17, torch.float64))
LOOSE = NoiseSchedule.log_linear(100, 2.5, -14.0)  # x_1 leaves open which image it is
TIGHT = NoiseSchedule.log_linear(100, 4.0, -14.0)  # and hardly does


def process(schedule: NoiseSchedule, variance: Variance = FixedSmall()) -> ReverseProcess:  # noqa: B008 (frozen)
    return ReverseProcess(exact_network(POINTS, schedule), schedule, DataPrediction(), variance, 17)


REVERSE = process(LOOSE)


def images(num: int) -> ArrayDataset:
    return ArrayDataset(LEVELS[torch.arange(num) % 8], levels=17)


def test_bound_uses_the_density_of_x_1():
    """Per draw: -log p(x_0|x_1) - log q(x_1) + log q(x_1|x_0), because the density of the flow is q(x_1)."""
    report = evaluate_likelihood(REVERSE, images(80), exact=True, tolerance=5e-3)
    x_0 = levels_to_data(images(80).images(range(80)), 17)
    t = torch.ones(80, dtype=torch.int64)
    x_1 = REVERSE.forward_process.sample(
        x_0, t, standard_normal(x_0.shape, image_generators(0, 0, 80, LIKELIHOOD), x_0)
    )
    q, signal, stddev = REVERSE.forward_process.marginal(x_0, t), float(LOOSE.signal[1]), float(LOOSE.noise_stddev[1])
    log_ratio = POINTS.log_prob(x_1, signal, stddev) - sum_dims(q.log_prob(x_1).double())
    nats = -sum_dims(REVERSE.decoder(x_1).log_prob(x_0).double()) - log_ratio
    error = (report.scores - bits_per_dim(nats, 4)).abs()
    assert float(error.mean()) < 2e-3 and float(error.max()) < 0.02
    assert report.reached and report.change <= 5e-3 and report.probes == 0 and report.probe_error == 0


ENTROPY = float(bits_per_dim(-(POINTS.weights * POINTS.weights.log()).sum(), 4))  # E[-log p(x_0)] of the points


def test_flow_lies_between_entropy_and_bound():
    """The exact network with a poor variance: it costs the chain bits, and the flow uses no variance."""
    some, reverse = images(400), process(TIGHT, FixedLarge())
    flow = evaluate_likelihood(reverse, some, exact=True, tolerance=5e-3)
    bound = evaluate_bound(reverse, some, steps_per_image=None)
    assert ENTROPY < flow.total < bound.total - 4.5 * math.hypot(flow.standard_error, bound.standard_error)
    assert flow.standard_error == pytest.approx(float(flow.scores.std()) / 20)


def test_importance_weights_tighten_the_bound():
    some = images(100)
    one, four = (evaluate_likelihood(REVERSE, some, exact=True, tolerance=0.1, draws=draws) for draws in (1, 4))
    assert ENTROPY < four.total < one.total - 0.1
    assert four.calls == 4 * one.calls and four.draws == 4


def test_probe_error_matches_the_spread():
    """40 seeds: probes minus the exact trace, on the same x_1, spread by the mean stated error (within 4.5 * 11%)."""
    reverse, options = process(NoiseSchedule.log_linear(25, 2.5, -14.0)), {"images": images(8), "tolerance": 100.0}
    drawn = [evaluate_likelihood(reverse, **options, probes=3, seed=seed) for seed in range(40)]
    exact = [evaluate_likelihood(reverse, **options, exact=True, seed=seed) for seed in range(40)]
    off = torch.tensor([d.total - e.total for d, e in zip(drawn, exact, strict=True)])
    stated = torch.tensor([d.probe_error for d in drawn]).square().mean().sqrt()
    assert abs(z_score(off, 0.0)) < 4.5
    assert abs(float(off.std() / stated) - 1) < 4.5 / math.sqrt(2 * 40)
    assert math.isnan(evaluate_likelihood(reverse, **options).probe_error)


CHAIN = NoiseSchedule.log_linear(10, 5.0, -7.0)  # that of `ClassOracle`


def test_labels_reach_a_conditional_network():
    """With its class the network knows each image: Heun's steps are then exact, however few."""
    labels = torch.arange(12) + 2
    flat = ArrayDataset(labels.reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3).to(torch.uint8), levels=17, labels=labels)
    reverse = ReverseProcess(ClassOracle(), CHAIN, variance=FixedSmall(), levels=17)
    labelled = evaluate_likelihood(reverse, flat, labels=labels, tolerance=1e-4, batch_size=5)
    assert labelled.change < 1e-6 and labelled.steps == 8
    decoder = evaluate_bound(reverse, flat, labels=labels).decoder
    assert labelled.total == pytest.approx(decoder, abs=0.02)  # except for what x_T still holds of the image
    labels = labels.clone()
    labels[7] = -1
    wrong = (evaluate_likelihood(reverse, flat, labels=labels).scores - labelled.scores).abs() > 0.1
    assert wrong.nonzero().tolist() == [[7]]


def test_scores_do_not_depend_on_the_batch():
    some, options = images(13), {"tolerance": 1.0, "probes": 2}
    scores = [evaluate_likelihood(REVERSE, some, batch_size=b, **options).scores for b in (1, 5, 64)]
    for other in scores[1:]:
        torch.testing.assert_close(other, scores[0], rtol=1e-5, atol=1e-5)
    assert not torch.equal(evaluate_likelihood(REVERSE, some, seed=1, **options).scores, scores[0])


def test_missed_tolerance_is_reported():
    calls, seen = [], []

    def counting(x_t: Tensor, time: Tensor) -> Tensor:
        calls.append(len(x_t))
        return REVERSE.network(x_t, time)

    report = evaluate_likelihood(
        replace(REVERSE, network=counting),
        images(3),
        tolerance=1e-12,
        batch_size=2,
        progress=lambda *progress: seen.append(progress),
    )
    assert not report.reached and report.steps == 99 and report.change > 1e-12
    assert sum(calls) == 3 * report.calls
    assert seen[-1] == (3 * (26 + 51 + 100),) * 2 and len(seen) == 6
    record = report.to_json()
    assert record["reached"] is False and "scores" not in record and json.dumps(record)


@pytest.mark.parametrize("num_steps", [1, 2])
def test_short_schedule_cannot_double(num_steps: int):
    schedule = NoiseSchedule.from_alphas_bar([1.0, *[0.5, 0.002][: num_steps - 1], 0.001])
    data = GaussianData(0.0, 0.3)
    report = evaluate_likelihood(ReverseProcess(data.network(schedule), schedule, levels=17), images(4))
    assert math.isnan(report.change) and not report.reached and report.steps == num_steps - 1
    assert math.isfinite(report.total)


def test_constant_network_has_no_divergence():
    scale = torch.nn.Parameter(torch.ones(()))
    blind = ReverseProcess(lambda x_t, time: torch.zeros_like(x_t), CHAIN, levels=17)
    seeing = ReverseProcess(lambda x_t, time: 1e-9 * scale * x_t, CHAIN, levels=17)
    weighed = ReverseProcess(lambda x_t, time: 0 * scale.expand(x_t.shape), CHAIN, levels=17)
    scores = [evaluate_likelihood(reverse, images(5)).scores for reverse in (blind, seeing, weighed)]
    torch.testing.assert_close(*scores[:2], rtol=0, atol=1e-5)
    torch.testing.assert_close(scores[0], scores[2], rtol=0, atol=1e-5)
    assert not scores[1].requires_grad and scale.grad is None


def test_invalid_input_is_refused():
    with pytest.raises(DataError, match="no images"):
        evaluate_likelihood(REVERSE, images(0))
    with pytest.raises(DataError, match="256 levels and the model was trained on 17"):
        evaluate_likelihood(REVERSE, ArrayDataset(LEVELS, levels=256))
    for tolerance in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigurationError, match="tolerance must be above 0 bits/dim"):
            evaluate_likelihood(REVERSE, images(2), tolerance=tolerance)
    with pytest.raises(ConfigurationError, match="probes must be a whole number, at least 1, got 0"):
        evaluate_likelihood(REVERSE, images(2), probes=0)
    with pytest.raises(ConfigurationError, match="draws must be a whole number, at least 1, got 0"):
        evaluate_likelihood(REVERSE, images(2), exact=True, draws=0)
    with pytest.raises(
        ConfigurationError,
        match="2 draws of x_1 are weighted by their densities, which need the exact trace: use exact=True",
    ):
        evaluate_likelihood(REVERSE, images(2), draws=2)
