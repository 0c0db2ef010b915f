"""Conformal p-values and the false discovery rate: by hand, against SciPy, and by their guarantees in simulations."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from nelbo.data import ArrayDataset
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.evaluation import (
    DecisionOptions,
    DecisionWarning,
    Surprise,
    benjamini_hochberg,
    conformal_decisions,
    conformal_p_values,
    encode_image,
    evaluate_bound,
    lossless_bits,
)
from tests.evaluation.test_bound import REVERSE, images

pytestmark = pytest.mark.filterwarnings("ignore::nelbo.evaluation.DecisionWarning")


def normal(num: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + shift


class TestPValues:
    def test_are_those_counted_by_hand(self):
        held_out = torch.tensor([3.0, 1.0, 2.0, 2.0])
        found = conformal_p_values(torch.tensor([0.0, 1.0, 2.0, 2.5, 3.0, 9.0]), held_out)
        assert found.upper.tolist() == [1.0, 1.0, 0.8, 0.4, 0.4, 0.2]
        assert found.lower.tolist() == [0.2, 0.4, 0.8, 0.8, 1.0, 1.0]
        assert found.two_sided.tolist() == [0.4, 0.8, 1.0, 0.8, 0.8, 0.4]

    def test_count_a_tie_as_at_least_as_surprising(self):
        found = conformal_p_values(torch.ones(1), torch.ones(9))
        assert found.upper.tolist() == found.lower.tolist() == found.two_sided.tolist() == [1.0]

    def test_a_score_that_is_not_finite_is_the_most_surprising(self):
        found = conformal_p_values(torch.tensor([math.inf, math.nan]), torch.arange(9.0))
        assert found.upper.tolist() == [0.1, 0.1]

    def test_need_held_out_scores(self):
        with pytest.raises(DataError, match="there are none"):
            conformal_p_values(torch.ones(2), torch.ones(0))
        with pytest.raises(DataError, match=r"1 of 2 held-out scores are NaN"):
            conformal_p_values(torch.ones(2), torch.tensor([1.0, math.nan]))
        with pytest.raises(ShapeError, match=r"held-out scores have the shape \(2, 2\)"):
            conformal_p_values(torch.ones(2), torch.ones(2, 2))

    def test_are_exactly_uniform_where_nothing_ties(self):
        """All orders of 4 + 1 scores are equally likely: each p-value k / 5 occurs once in five."""
        scores = torch.tensor([0.3, 1.7, 2.2, 5.1, 8.0])
        upper = [float(conformal_p_values(scores[[i]], scores[torch.arange(5) != i]).upper) for i in range(5)]
        assert sorted(upper) == [0.2, 0.4, 0.6, 0.8, 1.0]

    @pytest.mark.parametrize("side", ["upper", "lower", "two_sided"])
    @pytest.mark.parametrize("ties", [False, True])
    def test_are_super_uniform_for_images_like_the_held_out_ones(self, side, ties):
        """P(p <= u) <= u, with and without ties.

        2,000 repetitions with 1 score and 39 held-out ones. The share at most u is compared with the 99.9% quantile of
        the binomial distribution at u, for 4 values of u: a correct function fails 1 in 250 seeds or fewer.
        """
        values = normal(2000 * 40, 1).view(2000, 40)
        values = values.mul(2).round() if ties else values
        found = torch.tensor([float(getattr(conformal_p_values(row[:1], row[1:]), side)) for row in values])
        for u in (0.05, 0.1, 0.25, 0.5):
            assert int((found <= u + 1e-9).sum()) <= stats.binom.ppf(0.999, 2000, u)

    def test_halves_of_the_held_out_images_are_alike(self):
        """A Kolmogorov-Smirnov test at 5%: the p-values of one half against the other one, on 200 resamplings.

        Held-out scores have other draws than those of the images. A p-value (1 + k) / (n + 1) lies between the k-th and
        the next of the n values (j + 1/2) / (n + 1), so the test of these two samples is that of the scores. Its rate
        of false alarms is 5% +- 3%: two standard deviations of a share of 200.
        """
        found = [evaluate_bound(REVERSE, images(400), steps_per_image=2, seed=seed).scores for seed in (0, 1)]
        places, alarms = (np.arange(1, 201) + 0.5) / 201, 0
        for seed in range(200):
            order = torch.randperm(400, generator=torch.Generator().manual_seed(seed))
            p_values = conformal_p_values(found[0][order[:200]], found[1][order[200:]]).upper
            alarms += stats.ks_2samp(p_values.numpy(), places).pvalue <= 0.05
        assert 0.02 <= alarms / 200 <= 0.08


class TestBenjaminiHochberg:
    def test_is_the_one_of_the_paper(self):
        """Benjamini & Hochberg (1995), section 3.2: 15 p-values, of which 4 are significant at a rate of 0.05."""
        p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344]
        p_values += [0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
        assert int((benjamini_hochberg(torch.tensor(p_values)) <= 0.05).sum()) == 4

    @pytest.mark.parametrize("num", [1, 2, 7, 100])
    def test_agrees_with_scipy(self, num):
        p_values = np.random.default_rng(num).integers(1, 50, num) / 50  # with ties
        found = benjamini_hochberg(torch.from_numpy(p_values))
        np.testing.assert_allclose(found.numpy(), stats.false_discovery_control(p_values), rtol=1e-12)

    def test_no_p_values(self):
        assert benjamini_hochberg(torch.ones(0)).shape == (0,)


class TestDecisions:
    def test_a_threshold_that_is_met_exactly_flags(self):
        """2 of 100 images have p = 1 / 1,000 = 0.05 * 2 / 100, which binary fractions only approximate."""
        scores = torch.cat([torch.full((2,), 9.0), torch.zeros(98)])
        found = conformal_decisions(Surprise(scores), Surprise(torch.zeros(999)), tails="upper")
        assert found.flagged.tolist() == [True] * 2 + [False] * 98
        assert (found.smallest, found.fewest, found.enough) == (0.001, 2, 1999)

    @pytest.mark.parametrize("tails", ["upper", "both"])
    @pytest.mark.parametrize("num", [10, 64, 999])
    def test_fewest_and_enough_are_the_limits(self, tails, num):
        """Images beyond every held-out score are flagged from `fewest` on, and one alone from `enough` on."""

        def flagged(unusual: int, held_out: int) -> bool:
            scores = torch.cat([torch.full((unusual,), 9.0), torch.full((40 - unusual,), 0.1)])
            rest = torch.linspace(-1, 1, held_out, dtype=torch.float64)
            found = conformal_decisions(Surprise(scores), Surprise(rest), tails=tails)
            return bool(found.flagged[:unusual].all())

        found = conformal_decisions(Surprise(torch.zeros(40)), Surprise(normal(num, 0)), tails=tails)
        assert flagged(1, found.enough) and not flagged(1, found.enough - 1)
        if found.fewest <= 40:
            assert flagged(found.fewest, num)
        if found.fewest > 1:
            assert not flagged(min(found.fewest - 1, 40), num)

    def test_both_tails_find_what_is_too_simple(self):
        new, held_out = Surprise(torch.tensor([-9.0, 9.0, 0.0])), Surprise(normal(999, 3))
        assert conformal_decisions(new, held_out, tails="upper").flagged.tolist() == [False, True, False]
        assert conformal_decisions(new, held_out, tails="both").flagged.tolist() == [True, True, False]

    def test_complexity_is_subtracted_on_both_sides(self):
        """A complex image that the model codes as well as others of its complexity is not unusual."""
        complexity = normal(999, 4).abs() * 3
        held_out = Surprise(complexity + 0.01 * normal(999, 6), complexity)
        new = Surprise(torch.tensor([30.0, 5.0]), torch.tensor([30.0, 4.0]))
        assert conformal_decisions(new, held_out).flagged.tolist() == [False, True]
        plain = conformal_decisions(replace(new, complexity=None), replace(held_out, complexity=None))
        assert plain.flagged.tolist() == [True, False]

    @pytest.mark.parametrize("tails", ["upper", "both"])
    def test_share_of_false_discoveries_is_at_most_the_rate(self, tails):
        """18 usual and 6 unusual images, 400 repetitions; rate 0.2.

        The mean share of false discoveries is at most 0.2 * 18 / 24 = 0.15 plus three standard errors: a false alarm in
        fewer than 1 of 700 seeds. Two-sided p-values are not covered by the theorem; the simulation is for them.
        """
        shares, found_any = [], 0
        for seed in range(400):
            high, low = normal(3, 3 * seed, 3.0), normal(3, 3 * seed, -3.0)
            scores = torch.cat([high, low, normal(18, 3 * seed + 1)])
            found = conformal_decisions(Surprise(scores), Surprise(normal(200, 3 * seed + 2)), fdr=0.2, tails=tails)
            shares.append(int(found.flagged[6:].sum()) / max(int(found.flagged.sum()), 1))
            found_any += int(found.flagged[:6].sum())
        assert np.mean(shares) <= 0.15 + 3 * np.std(shares) / 20
        assert found_any > 400 * (3 if tails == "both" else 1.5)

    @pytest.mark.filterwarnings("error")
    def test_too_few_held_out_images_are_a_warning(self):
        new = Surprise(torch.zeros(10))
        conformal_decisions(new, Surprise(normal(399, 0)))
        with pytest.warns(DecisionWarning, match="only in groups of at least 2 among 10 images; give 399 held-out"):
            conformal_decisions(new, Surprise(normal(398, 0)))
        with pytest.warns(DecisionWarning, match="can flag none among 10 images"):
            conformal_decisions(new, Surprise(normal(9, 0)))

    def test_mistakes_are_named(self):
        new, held_out = Surprise(torch.zeros(2)), Surprise(torch.zeros(9))
        with pytest.raises(ConfigurationError, match="fdr is 0; expected a number between 0 and 1"):
            conformal_decisions(new, held_out, fdr=0)
        with pytest.raises(ConfigurationError, match="unknown choice of tails 'uper'; did you mean 'upper'"):
            conformal_decisions(new, held_out, tails="uper")
        with pytest.raises(ConfigurationError, match="give it for both or neither"):
            conformal_decisions(new, replace(held_out, complexity=torch.zeros(9)))

    def test_show_themselves(self):
        new = Surprise(torch.tensor([9.0, 0.0]), torch.tensor([1.0, 0.5]))
        found = conformal_decisions(new, Surprise(normal(999, 0), torch.zeros(999)))
        assert "1 of 2 images, high and low scores, less the bits of a generic compressor" in repr(found)
        frame = found.to_pandas()
        assert list(frame.columns) == [
            *("image", "bits_per_dim", "complexity", "p_value", "p_two_sided", "adjusted", "flagged")
        ]
        assert frame["flagged"].tolist() == [True, False] and frame["p_value"][0] == 0.001
        assert found.to_json() == {"fdr": 0.05, "tails": "both", "num_held_out": 999}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fdr": 0.0}, "fdr is 0.0; expected a number between 0 and 1"),
        ({"fdr": "0.1"}, "fdr is '0.1'; expected a number"),
        ({"tails": "low"}, "unknown choice of tails 'low'"),
        ({"complexity": "pgn"}, "did you mean 'png'"),
        ({"num_held_out": 0}, "num_held_out must be a whole number, at least 1"),
        ({"steps_per_image": -1}, "steps_per_image must be a whole number, at least 0"),
        ({"fdt": 0.1}, "did you mean 'fdr'"),
    ],
)
def test_options_check_themselves(options, message):
    with pytest.raises(ConfigurationError, match=message):
        DecisionOptions.of(**options)


def test_values_of_t():
    assert [DecisionOptions(steps_per_image=steps).values_of_t for steps in (None, 0, 5)] == [32, None, 5]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("compressor", ["png", "webp"])
def test_lossless_bits_are_those_of_the_files(compressor, channels):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (1, channels, 8, 8), generator=generator, dtype=torch.uint8)
    both = ArrayDataset(torch.cat([torch.zeros_like(noise), noise]))
    found = lossless_bits(compressor, both)
    sizes = [encode_image(compressor.upper(), image, None).num_bytes for image in both.images([0, 1])]
    assert found.tolist() == [8 * size / (64 * channels) for size in sizes] and found[0] < found[1]


def test_points_have_no_lossless_file():
    with pytest.raises(DataError, match="grey or RGB"):
        lossless_bits("png", ArrayDataset(torch.zeros(1, 2, 1, 1, dtype=torch.uint8)))
