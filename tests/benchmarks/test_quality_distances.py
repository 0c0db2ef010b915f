"""Kernel distance, density and coverage against closed forms and another implementation."""

import pytest
import torch

from benchmarks.quality.distances import density_and_coverage, kernel_distance
from benchmarks.quality.memorisation import nearest
from nelbo.data import ArrayDataset
from nelbo.errors import DataError


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values)[:, None]


def normal(num: int, dims: int, seed: int) -> torch.Tensor:
    return torch.randn(num, dims, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("generated", "k", "density", "coverage"),
    [
        ((0.5,), 1, 2 / 1, 2 / 4),  # inside the balls of radius 1 around 0 and 1
        ((0.5, 10.0), 1, 2 / 2, 2 / 4),  # 10 is in no ball
        ((0.5,), 2, 2 / 2, 2 / 4),  # the radii are 2, 1, 1, 2
        ((1.5, 1.5), 2, 8 / 4, 4 / 4),  # the same image twice counts twice in the density only
        ((10.0,), 1, 0.0, 0.0),
    ],
)
def test_density_and_coverage_of_points_on_a_line(generated, k, density, coverage):
    reference = column(0.0, 1.0, 2.0, 3.0)
    assert density_and_coverage(column(*generated), reference, k) == pytest.approx((density, coverage))


def test_coverage_of_the_same_distribution_has_its_closed_form():
    """Naeem et al. 2020: 1 - prod_i (N - i) / (N + M - i), i = 1..k. The tolerance is three standard errors."""
    num, k = 1500, 5
    expected = 1 - torch.tensor([(num - i) / (2 * num - i) for i in range(1, k + 1)]).prod().item()
    density, coverage = density_and_coverage(normal(num, 4, 0), normal(num, 4, 1), k)
    assert coverage == pytest.approx(expected, abs=0.015)
    assert density == pytest.approx(1, abs=0.06)


def test_too_few_reference_images_are_refused():
    with pytest.raises(DataError, match="more than 5 reference images, got 5"):
        density_and_coverage(normal(9, 2, 0), normal(5, 2, 1))


def test_kernel_distance_equals_torchmetrics():
    kid = pytest.importorskip("torchmetrics.image.kid")
    x, y = normal(60, 7, 0), 1.3 * normal(60, 7, 1) + 0.2
    assert kernel_distance(x, y, resamples=2).value == pytest.approx(float(kid.poly_mmd(x, y)), rel=1e-12)


def test_kernel_distance_of_two_pairs_by_hand():
    """D = 1: the kernel of a and b is (a b + 1)^3."""
    x, y = column(0.0, 1.0), column(2.0, 3.0)
    within = (0 + 1) ** 3 + (2 * 3 + 1) ** 3
    between = (1**3 + 1**3 + 3**3 + 4**3) / 4
    assert kernel_distance(x, y, resamples=2).value == pytest.approx(within - 2 * between)


def test_interval_contains_the_distance_of_the_population():
    """The distance of a distribution from itself is 0; the seeds are fixed, and 5 of 100 intervals may miss it."""
    found = [kernel_distance(normal(100, 3, 2 * i), normal(120, 3, 2 * i + 1), resamples=100) for i in range(20)]
    assert sum(each.low <= 0 <= each.high for each in found) >= 17
    assert all(each.low <= each.value <= each.high for each in found)


def images(num: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (num, 1, 4, 4), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def test_copies_of_training_images_are_noticed():
    train = ArrayDataset(images(200, 0), 256)
    held_out = images(200, 1)
    copies, fresh = (nearest(samples, train, held_out) for samples in (images(200, 0)[:16], images(16, 2)))
    assert copies.samples == copies.ratio == 0
    assert fresh.samples > 20
    assert fresh.ratio == pytest.approx(1, abs=0.1)
    assert fresh.held_out == copies.held_out > 20
