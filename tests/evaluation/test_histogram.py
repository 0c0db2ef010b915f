"""KL over bins: zero for the true distribution, the closed form for a known one, large for a missing mode."""

import math

import pytest
import torch

from nelbo.data import toy, toy_masses
from nelbo.errors import ShapeError
from nelbo.evaluation import coarser, counts_of, histogram_divergence
from nelbo.probability import data_to_levels


def counted(points: torch.Tensor) -> torch.Tensor:
    return coarser(counts_of(data_to_levels(points / 4, 256), 256), 32)


@pytest.mark.parametrize("name", ["eight-gaussians", "checkerboard"])
def test_true_samples_are_consistent(name: str):
    """|z| < 4 with a distribution similar to chi^2: false alarm rate about 1 in 10,000."""
    found = histogram_divergence(
        coarser(toy_masses(name), 32), counted(toy(name, 5000, torch.Generator().manual_seed(8)))
    )
    assert abs(found.z) < 4
    assert found.raw > 0 and found.raw - found.floor == found.nats
    assert (found.num_samples, found.num_bins) == (5000, 1024)


def test_missing_mode_is_detected():
    """One of eight Gaussians is missing: its bins hold only the pseudo-sample, which costs over 1/8 log(samples)."""
    points = toy("eight-gaussians", 5000, torch.Generator().manual_seed(8))
    rest = points[(points - torch.tensor([1.4, 0.0])).norm(dim=1) > 0.53]
    found = histogram_divergence(coarser(toy_masses("eight-gaussians"), 32), counted(rest))
    assert found.z > 30
    assert found.nats > math.log(len(rest)) / 8


def test_known_divergence_is_recovered():
    """n = 20,000 draws of q over 6 bins: KL(p||q) within 4 standard errors of sqrt((sum p^2/q - 1) / n)."""
    p = torch.tensor([0.3, 0.2, 0.2, 0.1, 0.1, 0.1], dtype=torch.float64)
    q = torch.tensor([0.2, 0.25, 0.15, 0.15, 0.05, 0.2], dtype=torch.float64)
    draws = torch.multinomial(q, 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    found = histogram_divergence(p.view(2, 3), torch.bincount(draws, minlength=6).view(2, 3))
    error = math.sqrt((float((p**2 / q).sum()) - 1) / 20_000)
    assert abs(found.nats - float((p * (p / q).log()).sum())) < 4 * error
    assert found.floor == pytest.approx(5 / 40_000, rel=0.3)  # (bins - 1) / 2n, to first order


def test_floor_depends_on_the_seed_alone():
    masses, counts = torch.full((4,), 0.25, dtype=torch.float64), torch.tensor([30, 20, 25, 25])
    assert histogram_divergence(masses, counts, seed=1) == histogram_divergence(masses, counts, seed=1)
    assert histogram_divergence(masses, counts, seed=1).floor != histogram_divergence(masses, counts, seed=2).floor


def test_counts_and_coarser_tables():
    levels = torch.tensor([[0, 3], [0, 3], [2, 1], [3, 0]])
    counts = counts_of(levels, 4)
    assert counts.tolist() == [[0, 0, 0, 2], [0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]]
    assert coarser(counts, 2).tolist() == [[0, 2], [2, 0]]


@pytest.mark.parametrize("counts", [torch.zeros(4, dtype=torch.int64), torch.ones(5, dtype=torch.int64)])
def test_mismatched_or_empty_counts_are_refused(counts: torch.Tensor):
    with pytest.raises(ShapeError, match=r"for masses \(4,\)"):
        histogram_divergence(torch.full((4,), 0.25), counts)
