"""Eq. 3 and eq. 5 have the same mean, on known data with a known network."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import FixedLarge, FixedSmall, VariationalBound
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import compare_forms
from nelbo.probability import levels_to_data
from tests.evaluation.test_bound import REVERSE, images


def nothing_learned(x_t: Tensor, t: Tensor) -> Tensor:
    return torch.zeros_like(x_t)


@pytest.mark.parametrize("variance", [REVERSE.variance, FixedLarge(), FixedSmall()], ids=lambda v: v.name)
@pytest.mark.parametrize("network", [REVERSE.network, nothing_learned], ids=["exact", "nothing"])
def test_two_forms_agree(network, variance):
    report = compare_forms(replace(REVERSE, network=network, variance=variance), images(200), draws=4)
    assert abs(report.z) < 4
    assert (report.num_images, report.draws) == (200, 4)


def test_ratio_of_the_exact_model_varies_less():
    """If p_theta equalled the posterior, the ratio of every path would be p(x_0): eq. 3 then varies less than eq. 5.

    The exact KLs reduce the variance of each term of eq. 5, but not that of their sum: along a path the errors of the
    terms cancel, and with independent draws at each t they do not.
    """
    assert compare_forms(REVERSE, images(200), draws=4).variance_ratio < 0.1
    assert compare_forms(replace(REVERSE, network=nothing_learned), images(200), draws=4).variance_ratio > 0.3


def test_means_match_the_variational_bound():
    """Compare with independent draws of `VariationalBound.ratio` and `.terms`, within 4.5 standard errors."""
    some = images(300, 5)
    report = compare_forms(REVERSE, some, draws=3, seed=1)
    x_0, bits = levels_to_data(some.images(torch.arange(300)), 17), 1 / (9 * math.log(2))
    g = torch.Generator().manual_seed(77)
    bound = VariationalBound(REVERSE)
    for form, draw in ((report.ratio, bound.ratio), (report.divergence, lambda x, g: bound.terms(x, g).total)):
        own = torch.stack([draw(x_0, g) for _ in range(3)]).double() * bits
        error = math.sqrt(2 * form.variance / 900)
        assert abs(float(own.mean()) - form.bits_per_dim) < 4.5 * error
        assert form.variance == pytest.approx(float(own.var(0).mean()), rel=0.3)


def test_standard_error_matches_the_spread():
    """60 seeds on the same images: the spread of the differences is the mean stated error (4.5 * 9% allowed)."""
    some = images(10)
    reports = [compare_forms(REVERSE, some, seed=seed) for seed in range(60)]
    spread = torch.tensor([r.ratio.bits_per_dim - r.divergence.bits_per_dim for r in reports]).std()
    stated = torch.tensor([r.standard_error for r in reports]).square().mean().sqrt()
    assert abs(float(spread / stated) - 1) < 4.5 / math.sqrt(2 * 60)


def test_invalid_input_is_refused():
    with pytest.raises(DataError, match="no images"):
        compare_forms(REVERSE, images(0))
    with pytest.raises(ConfigurationError, match="draws must be at least 2, got 1"):
        compare_forms(REVERSE, images(2), draws=1)


@pytest.mark.parametrize("network", [REVERSE.network, nothing_learned], ids=["exact", "nothing"])
def test_eq_16_agrees_on_a_known_distribution(network):
    """30 images, five of them twice."""
    some = images(25)
    some = some.subset(torch.cat([torch.arange(25), torch.arange(5)]))
    reverse = replace(REVERSE, network=network)
    report = compare_forms(reverse, some, known=True, draws=8, batch_size=16)
    entropy = -(20 / 30 * math.log2(1 / 30) + 10 / 30 * math.log2(2 / 30)) / 9
    assert abs(report.known_z) < 3 and report.entropy == pytest.approx(entropy)
    assert report.known.variance < report.ratio.variance or network is REVERSE.network
    assert compare_forms(reverse, some).known_z is None
    table = report.to_pandas().set_index("form")["bits_per_dim"]
    assert table.to_dict() == {name: form.bits_per_dim for name, form in report.forms.items()} and len(table) == 3


def test_eq_16_refuses_labels():
    with pytest.raises(ConfigurationError, match="without labels"):
        compare_forms(REVERSE, images(2), labels=torch.zeros(2, dtype=torch.int64), known=True)
