"""p(fine levels | coarse levels): normalised, causal, sampled and coded by the same tables."""

import itertools
import math

import numpy as np
import pytest
import torch

from nelbo.condition import Condition
from nelbo.diffusion.passes import walk
from nelbo.networks.digit_network import DigitNetwork
from nelbo.probability.integer_gaussian import MASS
from nelbo.randomness import image_generators
from nelbo.refinement import DigitTables, LevelSplit, Refinement, RefinementObjective
from nelbo.refinement.context import SIDE, numbers
from nelbo.refinement.storage import fingerprint_of, model_from, options_for, settings_of, tensors_of


def levels_of(shape, levels, seed=0):
    return torch.randint(levels, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.int32)


@pytest.mark.parametrize("levels", [257, 300, 512])
def test_masses_of_all_images_of_two_pixels_sum_to_1(make_refinement, levels):
    model = make_refinement(levels)
    split = model.split
    for first, second in ((0, split.coarse_levels - 1), (3, 4)):
        own = [range(part << split.bits, min(part + 1 << split.bits, levels)) for part in (first, second)]
        images = torch.tensor(list(itertools.product(*own)), dtype=torch.int32).view(-1, 1, 1, 2)
        total = float((-model.nats(images).flatten(1).sum(1)).exp().sum())
        assert total == pytest.approx(1, abs=1e-5)  # an impossible level has a mass of 2^-24


def test_digits_do_not_depend_on_unknown_ones(make_refinement):
    model, shape = make_refinement(65_536, 2), (1, 2, 5, 6)
    x = levels_of(shape, 65_536)
    for stage in range(2):
        for known, now in walk(shape[1:], SIDE):
            before, after = model.split.shift(stage), model.split.shift(stage + 1)
            kept = torch.where(known, x >> after << after, x >> before << before)
            other = kept + torch.where(known, levels_of(shape, 1 << after, 1), levels_of(shape, 1 << before, 2))
            assert torch.equal(
                numbers(model.split, x, known, stage, now), numbers(model.split, other, known, stage, now)
            )


def test_neighbours_in_the_same_place_give_the_same_input_at_every_digit():
    """A difference counts in units of the pixel's own interval, so a smooth image looks alike at each digit."""
    split, known = LevelSplit(65_536), torch.ones(1, 5, 5, dtype=torch.bool)
    now = next(walk((1, 5, 5), SIDE))[1]
    seen = []
    for stage, width in enumerate((256, 16)):
        x = torch.full((1, 1, 5, 5), 128 * 256, dtype=torch.int32)
        x[..., 0, 1] += 3 * width
        found = numbers(split, x, known, stage, now)[0, 0, 0, :-1].view(3, 25)
        seen.append(found[1])
    assert torch.equal(seen[0], seen[1])


def test_tables_are_whole_and_leave_no_mass_to_impossible_digits():
    logits = np.array([[0, 640, -640, 0]] * 3)
    tables = DigitTables.of(logits, np.array([4, 2, 1]))
    assert (tables.cumulative[:, 0] == 0).all() and (tables.cumulative[:, -1] == MASS).all()
    masses = np.diff(tables.cumulative, axis=1)
    assert masses.min() == 1
    assert (masses[1, 2:] == 1).all() and (masses[2, 1:] == 1).all()
    expected = np.exp([0, 10, -10, 0]) / np.exp([0, 10, -10, 0]).sum()
    np.testing.assert_allclose(masses[0] / MASS, expected, atol=1e-5)


def test_samples_keep_their_coarse_levels_and_have_the_masses_of_the_tables(make_refinement):
    """Chi-square of 4,000 draws of one pixel in 16 cells; a false alarm once in 1,000 seeds."""
    model = make_refinement(4096)
    coarse = torch.full((4000, 1, 1, 1), 7, dtype=torch.uint8)
    drawn = model.sample(coarse, image_generators(0, 0, 4000))
    assert torch.equal(model.split.coarse(drawn), coarse.int())
    every = (torch.arange(16) + 7 * 16).view(16, 1, 1, 1).int()
    expected = 4000 * (-model.nats(every).flatten()).exp()
    counts = torch.bincount(drawn.flatten().long() - 7 * 16, minlength=16)
    assert float(((counts - expected) ** 2 / expected).sum()) < 37.7  # the 99.9% quantile for 15 degrees of freedom


def test_samples_stay_below_the_number_of_levels(make_refinement):
    model = make_refinement(300)  # the last coarse level has 44 of the 64 levels that its bits could count
    drawn = model.sample(torch.full((200, 1, 2, 2), model.split.coarse_levels - 1), image_generators(0, 0, 200))
    assert int(drawn.max()) < 300


def test_an_image_alone_has_the_bits_that_it_has_in_a_batch(make_refinement):
    model, x = make_refinement(65_536, 3), levels_of((20, 3, 7, 5), 65_536)
    together = model.nats(x)
    for i in (0, 13, 19):
        assert torch.equal(model.nats(x[i : i + 1])[0], together[i])


def test_training_estimates_the_bits_that_the_tables_take():
    split, x = LevelSplit(65_536), levels_of((4, 1, 6, 6), 65_536)
    torch.manual_seed(0)
    network = DigitNetwork(options_for(split, 1, 8))
    torch.nn.init.normal_(network.layers[-1].weight, 0, 0.05)
    objective = RefinementObjective(split)
    places = [(i + 0.5) / 4 for i in range(4)]  # each of the four passes once
    each = [objective(network, x, None, {"first": torch.full((4,), place)}).loss for place in places]
    exact = Refinement(split, network.exact()).nats(x).flatten(1).mean(1)
    torch.testing.assert_close(torch.stack(each).mean(0).double(), exact, rtol=0.01, atol=0.0)


def test_training_finds_the_entropy_of_noise_around_a_known_value():
    """x = 16 (h + 1/2) + noise with a stddev of 2 levels, so the digits have the entropy of a discrete normal."""
    generator = torch.Generator().manual_seed(0)

    def images(num):
        h = torch.randint(100, 110, (num, 1, 4, 4), generator=generator)
        noise = 2 * torch.randn(h.shape, generator=generator)
        return (16 * h + 8 + noise).round().clamp(16 * h, 16 * h + 15).int()

    split, objective = LevelSplit(4096), RefinementObjective(LevelSplit(4096))
    torch.manual_seed(0)
    network = DigitNetwork(options_for(split, 1, 8))
    optimizer = torch.optim.Adam(network.parameters())
    for step in range(200):
        optimizer.param_groups[0]["lr"] = 0.03 * (1 - step / 200)
        loss = objective(network, images(192), None, objective.draw(192, (1, 4, 4), generator)).weighted.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    bits = float(Refinement(split, network.exact()).nats(images(256)).mean()) / math.log(2)
    entropy = math.log2(2 * math.sqrt(2 * math.pi * math.e))
    assert entropy - 0.05 < bits < entropy + 0.08


def test_a_stored_model_is_the_same(make_refinement):
    model = make_refinement(5000, 3)
    again = model_from(settings_of(model), tensors_of(model), 3)
    assert fingerprint_of(again) == fingerprint_of(model)
    x = levels_of((2, 3, 5, 5), 5000)
    assert torch.equal(again.nats(x), model.nats(x))


def masks_of(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) > 0.3


def test_missing_pixels_have_no_bits_and_change_none(make_refinement):
    model, shape = make_refinement(65_536, 2), (3, 2, 6, 7)
    x, observed = levels_of(shape, 65_536), masks_of(shape)
    nats = model.nats(x, observed)
    assert torch.equal(nats[~observed], torch.zeros_like(nats[~observed]))
    other = torch.where(observed, x, levels_of(shape, 65_536, 1))
    assert torch.equal(model.nats(other, observed), nats)
    assert torch.equal(model.nats(x, torch.ones_like(observed)), model.nats(x))


def test_training_counts_observed_pixels_only():
    split, shape = LevelSplit(4096), (3, 1, 6, 6)
    x, observed = levels_of(shape, 4096), masks_of(shape)
    torch.manual_seed(0)
    network = DigitNetwork(options_for(split, 1, 8))
    torch.nn.init.normal_(network.layers[-1].weight, 0, 0.05)
    objective, given = RefinementObjective(split), Condition(observed=observed)
    each = [objective(network, x, given, {"first": torch.full((3,), (i + 0.5) / 4)}).loss for i in range(4)]
    exact = Refinement(split, network.exact()).nats(x, observed)
    expected = exact.flatten(1).sum(1) / observed.flatten(1).sum(1)
    torch.testing.assert_close(torch.stack(each).mean(0).double(), expected, rtol=0.01, atol=0.0)


def test_samples_of_observed_pixels_do_not_depend_on_missing_ones(make_refinement):
    model, shape = make_refinement(5000), (20, 1, 3, 3)
    observed = torch.ones(shape, dtype=torch.bool)
    observed[..., 0, 0] = False
    coarse = levels_of(shape, model.split.coarse_levels).to(torch.uint8)
    other = torch.where(observed, coarse, 3)
    one, two = (model.sample(each, image_generators(0, 0, 20), observed) for each in (coarse, other))
    assert torch.equal(one[observed], two[observed])


def test_after_an_impossible_digit_the_first_one_follows():
    tables = DigitTables.of(np.zeros((2, 4), np.int64), np.array([0, -3]))
    assert (tables.cumulative[:, -1] == MASS).all()
    assert tables.find(np.array([0, MASS // 2])).tolist() == [0, 0]
