"""The estimator over a data set: unbiased, with correct standard errors, independent of the batch size.

Statistical checks use |z| < 4.5 with fixed seeds (false alarm rate 1 in 150,000 each).
"""

import json
import math

import pytest
import torch
from torch import Tensor

from nelbo.data import ArrayDataset
from nelbo.diffusion import Calibrated, FixedSmall, GridPrediction, NoiseSchedule, ReverseProcess, VariationalBound
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import evaluate_bound, expected_terms
from nelbo.probability import data_to_levels, levels_to_data
from nelbo.randomness import image_generators
from nelbo.samplers import AncestralSampler
from tests.diffusion.oracle import GaussianData, z_score

SCHEDULE = NoiseSchedule.log_linear(10, 5.0, -7.0)
DATA = GaussianData(0.0, 0.3)
REVERSE = ReverseProcess(DATA.network(SCHEDULE), SCHEDULE, variance=Calibrated(DATA.mse(SCHEDULE)), levels=17)


def images(num: int, seed: int = 0, levels: int = 17) -> ArrayDataset:
    g = torch.Generator().manual_seed(seed)
    level = ((0.5 * torch.randn(num, 1, 3, 3, generator=g) + 1) * (levels - 1) / 2).round().clamp(0, levels - 1)
    return ArrayDataset(level.to(torch.uint8), levels=levels)


def test_stratified_estimate_is_unbiased():
    """Scores of each image over 150 seeds: a subset of the nine terms against all nine, with and without a proposal."""
    few = images(4)
    proposal = expected_terms(REVERSE, DATA.mse(SCHEDULE))
    options = {"full": {"steps_per_image": None}, "even": {"steps_per_image": 3}}
    options |= {"proposal": {"steps_per_image": 3, "proposal": proposal}, "one": {"steps_per_image": 1}}
    options |= {"skewed": {"steps_per_image": 2, "proposal": torch.arange(11.0, 0, -1) ** 3}}
    scores = {
        name: torch.stack([evaluate_bound(REVERSE, few, seed=seed, **option).scores for seed in range(150)])
        for name, option in options.items()
    }
    full = scores.pop("full")
    for sampled in scores.values():
        for image in range(4):
            error = math.sqrt(float(sampled[:, image].var() + full[:, image].var()) / 150)
            assert abs(float(sampled[:, image].mean() - full[:, image].mean())) < 4.5 * error
    assert float(scores["proposal"].var(0).mean()) < float(scores["even"].var(0).mean())


def test_full_sum_matches_the_variational_bound():
    """Compare with independent draws of `VariationalBound.terms`, term by term, on 2,000 images."""
    some = images(2000, 1)
    report = evaluate_bound(REVERSE, some, steps_per_image=None, batch_size=500)
    x_0 = levels_to_data(some.images(torch.arange(2000)), 17)
    terms, again = (VariationalBound(REVERSE).terms(x_0, torch.Generator().manual_seed(seed)) for seed in (2, 3))
    decoder = (terms.decoder + again.decoder) / 2  # L_0 is the mean of two draws
    bits = 1 / (9 * math.log(2))
    assert report.prior == pytest.approx(float(terms.prior.mean()) * bits, rel=1e-5)
    for mine, theirs in ((report.decoder, decoder), (report.denoising, terms.denoising.sum(1))):
        assert abs(z_score(theirs * bits, mine)) < 4.5 * math.sqrt(2)
    for step in report.per_step:
        theirs = (decoder if step.t == 1 else terms.denoising[:, step.t - 2]) * bits
        assert abs(float(theirs.mean()) - step.bits_per_dim) < 4.5 * step.standard_error * math.sqrt(2)
        assert step.standard_error == pytest.approx(float(theirs.std()) / math.sqrt(2000), rel=0.25)
        assert step.draws == 2000 and step.log_snr == pytest.approx(float(SCHEDULE.log_snr[step.t]))
    assert [step.t for step in report.per_step] == list(range(1, 11))
    assert sum(step.bits_per_dim for step in report.per_step) + report.prior == pytest.approx(report.total, rel=1e-6)


def test_terms_add_up():
    report = evaluate_bound(REVERSE, images(20), steps_per_image=2)
    assert report.total == pytest.approx(report.prior + report.denoising + report.decoder)
    assert report.scores.shape == (20,) and float(report.scores.mean()) == pytest.approx(report.total)
    assert report.standard_error == pytest.approx(float(report.scores.std()) / math.sqrt(20))


def test_standard_errors_are_calibrated():
    """200 new sets of 30 images: the spread of the totals is the mean standard error, within 4.5 * 5%."""
    totals, errors = [], []
    for seed in range(200):
        report = evaluate_bound(REVERSE, images(30, 100 + seed), steps_per_image=2, seed=seed)
        totals.append(report.total)
        errors.append(report.standard_error)
    ratio = float(torch.tensor(totals).std()) / float(torch.tensor(errors).square().mean().sqrt())
    assert abs(ratio - 1) < 4.5 / math.sqrt(2 * 200)


@pytest.mark.parametrize("steps_per_image", [None, 4])
def test_draw_error_is_an_upper_estimate(steps_per_image: int | None):
    """The same 20 images with 200 seeds: the totals spread by at most `draw_error` (4.5 * 5% allowed)."""
    some = images(20)
    reports = [evaluate_bound(REVERSE, some, steps_per_image=steps_per_image, seed=seed) for seed in range(200)]
    spread = float(torch.tensor([r.total for r in reports]).std())
    stated = float(torch.tensor([r.draw_error for r in reports]).square().mean().sqrt())
    assert spread < stated * (1 + 4.5 / math.sqrt(2 * 200))
    assert stated < 4 * spread


@pytest.mark.parametrize("end", [2, 10])
def test_draw_error_counts_the_outer_strata(end: int):
    """A variance far too small at one end of the chain puts nearly all of the draw error into one stratum."""
    mse = DATA.mse(SCHEDULE).clone()
    mse[end] *= 1e-3
    reverse = ReverseProcess(DATA.network(SCHEDULE), SCHEDULE, variance=Calibrated(mse), levels=17)
    reports = [evaluate_bound(reverse, images(20), steps_per_image=None, seed=seed) for seed in range(200)]
    spread = float(torch.tensor([r.total for r in reports]).std())
    stated = float(torch.tensor([r.draw_error for r in reports]).square().mean().sqrt())
    assert spread < stated * (1 + 4.5 / math.sqrt(2 * 200))


def test_draw_error_counts_the_decoder():
    """With few other terms, L_0 dominates the bound and its error."""
    schedule = NoiseSchedule.from_alphas_bar([1.0, 0.99, 0.002])
    mse = DATA.mse(schedule).clone()
    mse[1] *= 0.05
    reverse = ReverseProcess(DATA.network(schedule), schedule, variance=Calibrated(mse), levels=17)
    single = evaluate_bound(reverse, images(20))
    assert math.isnan(single.draw_error)  # a single stratum has no spread
    schedule = NoiseSchedule.from_alphas_bar([1.0, 0.99, 0.01, 0.002])
    mse = DATA.mse(schedule).clone()
    mse[1] *= 0.01
    reverse = ReverseProcess(DATA.network(schedule), schedule, variance=Calibrated(mse), levels=17)
    reports = [evaluate_bound(reverse, images(20), steps_per_image=None, seed=seed) for seed in range(200)]
    decoder = float(torch.tensor([r.decoder for r in reports]).std())
    stated = float(torch.tensor([r.draw_error for r in reports]).square().mean().sqrt())
    assert decoder < stated * (1 + 4.5 / math.sqrt(2 * 200))


def test_scoring_noise_differs_from_sampling_noise():
    """Score 600 samples of a chain of 4 steps with the seed that drew them and with other seeds."""
    schedule = NoiseSchedule.log_linear(4, 5.0, -7.0)
    reverse = ReverseProcess(DATA.network(schedule), schedule, variance=Calibrated(DATA.mse(schedule)))
    drawn = AncestralSampler(reverse).sample((600, 1, 3, 3), image_generators(0, 0, 600))
    samples = ArrayDataset(data_to_levels(drawn, 256).to(torch.uint8))
    own, *others = (evaluate_bound(reverse, samples, steps_per_image=None, seed=seed) for seed in range(4))
    assert all(abs(own.total - other.total) < 4.5 * math.hypot(own.draw_error, other.draw_error) for other in others)
    assert abs(own.total - sum(o.total for o in others) / 3) < 3 * own.draw_error


class ClassOracle(torch.nn.Module):
    """A network that knows the images of each class exactly: the level of every pixel is the class."""

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        level = torch.zeros(len(x_t)) if label is None else label.clamp(min=0).float()
        x_0 = levels_to_data(level, 17).reshape(-1, 1, 1, 1)
        schedule = NoiseSchedule.log_linear(10, 5.0, -7.0)
        return (x_t - schedule.at(schedule.signal, t, x_t) * x_0) / schedule.at(schedule.noise_stddev, t, x_t)


def test_labels_reach_a_conditional_network():
    """Each image has one level, given by its class: the network is exact with labels and wrong without."""
    labels = torch.arange(12) + 2
    flat = ArrayDataset(labels.reshape(-1, 1, 1, 1).expand(-1, 1, 3, 3).to(torch.uint8), levels=17, labels=labels)
    reverse = ReverseProcess(ClassOracle(), SCHEDULE, variance=FixedSmall(), levels=17)
    labelled = evaluate_bound(reverse, flat, labels=labels, batch_size=5)
    assert labelled.denoising == pytest.approx(0, abs=1e-5)
    assert evaluate_bound(reverse, flat, batch_size=5).denoising > 1
    confused = labels.clone()
    confused[7] = -1
    scores = evaluate_bound(reverse, flat, labels=confused, batch_size=5).scores
    wrong = (scores - labelled.scores).abs() > 0.1
    assert wrong.nonzero().tolist() == [[7]]


@pytest.mark.parametrize("steps_per_image", [None, 3])
def test_scores_do_not_depend_on_the_batch(steps_per_image: int | None):
    some, skewed = images(13), torch.arange(11.0, 0, -1) ** 3
    options = {"steps_per_image": steps_per_image, "proposal": skewed}
    scores = [evaluate_bound(REVERSE, some, batch_size=b, **options).scores for b in (1, 5, 64)]
    for other in scores[1:]:
        torch.testing.assert_close(other, scores[0], rtol=1e-5, atol=1e-6)
    again = evaluate_bound(REVERSE, some, seed=1, **options).scores
    assert float((again - scores[0]).abs().min()) > 0


def test_more_steps_than_terms_use_every_term():
    some = images(6)
    full = evaluate_bound(REVERSE, some, steps_per_image=None)
    for many in (9, 10, 5000):
        assert torch.equal(evaluate_bound(REVERSE, some, steps_per_image=many).scores, full.scores)
    assert full.steps_per_image == 9


def test_expected_terms_match_the_denoising_terms():
    """For one-dimensional Gaussian data: 3,000 continuous draws at each t against log(sigma^2/betatilde)/2."""
    expected = expected_terms(REVERSE, DATA.mse(SCHEDULE))
    assert expected.shape == (11,) and expected[:2].tolist() == [0, 0]
    g = torch.Generator().manual_seed(3)
    for t in (2, 5, 10):
        x_0 = DATA.draw(3000, g)
        noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
        step = VariationalBound(REVERSE).step(x_0, torch.full((3000,), t), noise)
        assert abs(z_score(step, float(expected[t]))) < 4.5


def test_expected_terms_of_a_stride():
    fine = NoiseSchedule.log_linear(100, 5.0, -7.0)
    stride = fine.strided([5, 40, 100])
    reverse = ReverseProcess(DATA.network(fine), stride, variance=Calibrated(DATA.mse(fine)), levels=17)
    sigma2 = stride.posterior_variance[2:] + stride.posterior_x_0[2:] ** 2 * DATA.mse(fine)[[40, 100]]
    torch.testing.assert_close(
        expected_terms(reverse, DATA.mse(fine))[2:], 0.5 * (sigma2 / stride.posterior_variance[2:]).log()
    )


@pytest.mark.parametrize("clip", [False, True])
def test_json_has_the_expected_keys(clip: bool):
    reverse = ReverseProcess(DATA.network(SCHEDULE), SCHEDULE, variance=FixedSmall(), levels=17, clip=clip)
    record = json.loads(json.dumps(evaluate_bound(reverse, images(5), steps_per_image=None).to_json(), allow_nan=False))
    assert set(record["bits_per_dim"]) == {"total", "prior", "denoising", "decoder", "standard_error"}
    assert set(record) >= {"bits_per_dim", "per_step", "num_images", "num_dims", "levels", "num_steps", "clip"}
    assert (record["num_images"], record["num_dims"], record["levels"], record["num_steps"]) == (5, 9, 17, 10)
    assert record["clip"] is clip and record["variance"] == "fixed-small"
    assert set(record["per_step"][0]) >= {"t", "bits_per_dim", "standard_error", "log_snr"}


def test_json_of_one_image_has_null_error():
    """A single image has no spread, so its standard error is null: JSON has no NaN."""
    report = evaluate_bound(REVERSE, images(1), steps_per_image=2)
    record = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert record["bits_per_dim"]["standard_error"] is None


def test_clipping_changes_the_bound():
    some = images(50)
    wild = ReverseProcess(lambda x, time: 0 * x, SCHEDULE, variance=FixedSmall(), levels=17)
    held = ReverseProcess(lambda x, time: 0 * x, SCHEDULE, variance=FixedSmall(), levels=17, clip=True)
    assert evaluate_bound(held, some).total < evaluate_bound(wild, some).total


def test_schedule_of_one_step_has_no_denoising_terms():
    one = NoiseSchedule.from_alphas_bar([1, 0.001])
    reverse = ReverseProcess(DATA.network(one), one, levels=17)
    report = evaluate_bound(reverse, images(8))
    assert report.denoising == 0 and report.num_steps == 1 and [s.t for s in report.per_step] == [1]
    assert report.total == pytest.approx(report.prior + report.decoder)


def test_channels_count_as_dimensions():
    """The same pixels as one channel or three cost the same bits/dim under a pixelwise network."""
    grey = images(500)
    three = ArrayDataset(grey.images(torch.arange(500)).expand(500, 3, 3, 3).clone(), levels=17)
    by_grey, by_three = (evaluate_bound(REVERSE, s, steps_per_image=None) for s in (grey, three))
    assert by_three.num_dims == 27
    assert by_three.total == pytest.approx(by_grey.total, rel=0.05)


def test_untrained_grid_costs_log2_levels():
    schedule = NoiseSchedule.log_linear(200)
    g = torch.Generator().manual_seed(4)
    noise = ArrayDataset(torch.randint(17, (16, 1, 8, 8), generator=g).to(torch.uint8), levels=17)
    silent = ReverseProcess(lambda x, time: torch.zeros_like(x), schedule, GridPrediction(17), FixedSmall(), 17)
    assert evaluate_bound(silent, noise, steps_per_image=20).total == pytest.approx(math.log2(17), rel=0.25)


def test_progress_counts_images():
    seen: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    evaluate_bound(REVERSE, images(10), steps_per_image=1, batch_size=4, progress=progress)
    assert seen == [(4, 10), (8, 10), (10, 10)]


def test_invalid_input_is_refused():
    with pytest.raises(DataError, match="no images"):
        evaluate_bound(REVERSE, images(0))
    with pytest.raises(DataError, match="256 levels and the model was trained on 17"):
        evaluate_bound(REVERSE, images(3, levels=256))
    with pytest.raises(ConfigurationError, match="steps_per_image must be a whole number, at least 1, got 0"):
        evaluate_bound(REVERSE, images(3), steps_per_image=0)


def test_scores_need_no_gradients():
    scale = torch.nn.Parameter(torch.ones(()))

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        return scale * x_t

    assert not evaluate_bound(ReverseProcess(network, SCHEDULE, levels=17), images(2)).scores.requires_grad
