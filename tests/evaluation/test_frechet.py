"""The Frechet distance against its closed form, and the contents of its report."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from nelbo.data import ArrayDataset
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.evaluation import FeatureModule, FrechetReport, features_of, frechet_distance

SIDE = 2
PIXELS = FeatureModule("pixels", SIDE * SIDE, lambda images: images.flatten(1) / 16 - 8, 0.875, "the pixels themselves")


def gaussian(num: int, mean: float = 128.0, stddev: float = 16.0, seed: int = 0) -> torch.Tensor:
    """Draw images of independent Gaussian pixels, rounded to levels."""
    draws = torch.randn(num, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    return (mean + stddev * draws).round().clamp(0, 255).to(torch.uint8)


def distance(generated: torch.Tensor, reference: torch.Tensor, **options) -> FrechetReport:
    return frechet_distance(generated, reference, PIXELS, split="images drawn here", **{"resamples": 40} | options)


def closed_form(a: torch.Tensor, b: torch.Tensor) -> float:
    first, second = (images.flatten(1).double().numpy() / 16 for images in (a, b))
    gap = np.square(first.mean(0) - second.mean(0)).sum()
    c, d = np.cov(first.T), np.cov(second.T)
    return float(gap + np.trace(c + d - 2 * sqrtm(c @ d).real))


def test_distance_equals_the_closed_form():
    mixing = torch.tensor([[1.0, 0.5, 0, 0], [0, 1, 0.3, 0], [0, 0, 1, 0.2], [0.1, 0, 0, 1]])
    generated = (gaussian(300, 100, 20, 1).flatten(1).float() @ mixing / 2).round().to(torch.uint8).view(-1, 1, 2, 2)
    reference = gaussian(200, 128, 30, 2)
    assert distance(generated, reference).distance == pytest.approx(closed_form(generated, reference), rel=1e-9)


def test_distance_of_known_gaussians():
    """Exact: (m1 - m2)^2 + (s1 - s2)^2 per pixel; the estimate minus its bias is within the interval's width."""
    report = distance(gaussian(2000, 136, 24, 1), gaussian(2000, 128, 16, 2))
    truth = 4 * (0.5**2 + 0.5**2)
    assert abs(report.distance - report.bias - truth) < report.high - report.low < 0.5
    assert report.low < report.distance < report.high


def test_distance_from_itself_is_zero():
    images = gaussian(100)
    report = distance(images, images)
    assert report.distance == pytest.approx(0, abs=1e-6)
    assert report.low <= report.distance <= report.high


def test_bias_explains_the_distance_of_equal_distributions():
    """The distance between two sets of one distribution is only bias; the kernel distance is unbiased."""
    reports = [distance(gaussian(60, seed=2 * i), gaussian(60, seed=2 * i + 1)) for i in range(20)]
    mean = np.mean([report.distance for report in reports])
    assert 0.6 < np.mean([report.bias for report in reports]) / mean < 1.6
    kernels = np.array([report.kernel for report in reports])
    assert abs(kernels.mean()) < 4 * kernels.std() / np.sqrt(len(kernels))
    assert mean > 4 * np.std([report.distance for report in reports]) / np.sqrt(20)


def test_distance_grows_with_noise():
    clean = gaussian(300)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(9))
    noisy = [(gaussian(300, seed=1) + s * noise).clamp(0, 255).to(torch.uint8) for s in (0, 8, 16, 32)]
    reports = [distance(images, clean) for images in noisy]
    for name in ("distance", "kernel"):
        found = [getattr(report, name) for report in reports]
        assert found == sorted(found)


def test_report_depends_on_the_seed_alone():
    before = torch.get_rng_state()
    a, b = gaussian(50), gaussian(40, seed=1)
    assert distance(a, b, seed=3) == distance(a, ArrayDataset(b), seed=3, batch_size=7)
    assert distance(a, b, seed=4).high != distance(a, b, seed=3).high
    assert torch.equal(torch.get_rng_state(), before)


def test_report_states_everything_it_depends_on():
    report = distance(gaussian(50), gaussian(1040, 130, seed=1))
    text = str(report)
    for part in (
        f"Frechet distance {report.distance:.4g} (95% interval {report.low:.4g} .. {report.high:.4g}, 40 resamples)",
        "50 generated images against 1,040 images drawn here",
        "features pixels: 4 of the pixels themselves, accuracy 87.5% on held-out images",
        f"raise it by about {report.bias:.2g} +- {report.bias_error:.1g}",
        f"{report.kernel:.4g} +- {report.kernel_spread:.2g} in subsets of 25 images",
    ):
        assert part in text
    assert "warning" not in text
    assert set(report.to_json()) == {*vars(report), "warning"}


def test_too_few_images_are_reported():
    assert "4 images are too few for 4 features" in str(distance(gaussian(4), gaussian(50)))
    assert distance(gaussian(2), gaussian(2, seed=1)).distance > 0
    for a, b, what in ((1, 50, "1 generated"), (50, 0, "0 reference")):
        with pytest.raises(DataError, match=what):
            distance(gaussian(a), gaussian(b))
    with pytest.raises(ConfigurationError, match="at least 20, got 3"):
        distance(gaussian(9), gaussian(9), resamples=3)


def test_bias_that_means_nothing_is_not_printed():
    few = distance(gaussian(4), gaussian(50))
    assert "raise it by an amount that so few images do not show: compare figures of equal numbers only" in str(few)
    assert "by about" not in str(few) and "by about" not in repr(few)
    enough = distance(gaussian(50), gaussian(60, seed=1))
    falling = replace(enough, bias=-1200.0, bias_error=3.0)
    assert "by about" not in str(falling)
    assert falling.warning.startswith("50 images are too few to estimate the bias and the interval; take more images")


def test_caution_about_the_features_is_a_warning():
    unsure = replace(PIXELS, caution="an accuracy of 0.0% shows nothing")
    report = frechet_distance(gaussian(50), gaussian(60, seed=1), unsure, split="images", resamples=20)
    assert report.warning == "an accuracy of 0.0% shows nothing" == report.to_json()["warning"]
    assert str(report).endswith("\nwarning: an accuracy of 0.0% shows nothing")
    both = frechet_distance(gaussian(4), gaussian(60, seed=1), unsure, split="images", resamples=20)
    assert str(both).count("\nwarning: ") == 2 and both.warning.endswith("; an accuracy of 0.0% shows nothing")


def test_report_shows_itself_in_a_notebook():
    report = distance(gaussian(50), gaussian(60, 130, seed=1))
    assert repr(report).startswith(f"FrechetReport\n  distance  {report.distance:.4g} (95% interval")
    assert len(repr(report).splitlines()) == 6 and "<th" in report._repr_html_()
    pytest.importorskip("pandas")
    (row,) = report.to_pandas().to_dict("records")
    assert row["distance"] == report.distance and set(row) == set(report.to_json())


def test_wrong_features_are_refused():
    wrong = FeatureModule("maps", 4, lambda images: images.float(), None, "no vectors")
    with pytest.raises(ShapeError, match=r"maps returned \(3, 1, 2, 2\) for 3 images; expected \(3, 4\)"):
        features_of(gaussian(3), wrong)
    infinite = FeatureModule("logs", 4, lambda images: images.flatten(1).float().log(), None, "logarithms")
    with pytest.raises(DataError, match="not finite"):
        features_of(torch.zeros(3, 1, 2, 2, dtype=torch.uint8), infinite)


def test_missing_torchmetrics_is_reported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'nelbo\[metrics\]'"):
        distance(gaussian(9), gaussian(9))
