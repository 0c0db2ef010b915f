"""Every draw is a function of a seed and a place, such as a step or an image."""

import re

import numpy as np
import pytest
import torch

from nelbo.errors import ConfigurationError
from nelbo.randomness import (
    CLASSES,
    DRAWN_SEEDS,
    DRAWS,
    IMAGE,
    SeedWarning,
    chosen_seed,
    derived_seed,
    image_generators,
    standard_normal,
    step_generator,
)


def test_derived_seeds_are_distinct_and_63_bit():
    """Purposes, places, lengths of places and numbers above 32 bits all give different seeds."""
    places = [(), *((i,) for i in range(60)), *((i, j) for i in range(12) for j in range(3)), (2**32,), (2**40, 1)]
    own = (0, 1, 7, 2**32, 2**32 + 5, 2**63)
    seeds = [derived_seed(s, kind, *place) for s in own for kind in range(CLASSES + 1) for place in places]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(3, IMAGE, 5) == derived_seed(3, IMAGE, 5)


@pytest.mark.parametrize("seed", [-1, 0, 2**31, 2**63, 2**64 - 1])
def test_any_integer_is_a_seed(seed: int):
    assert 0 <= derived_seed(seed, DRAWS, 0) < 2**63
    assert derived_seed(seed, DRAWS, 0) != derived_seed(seed + 1, DRAWS, 0)


def test_derived_seeds_are_stable_across_versions():
    """Samples and scores of a published seed must not change with a release."""
    assert derived_seed(0, DRAWS, 0) == 8795328300061315701
    assert derived_seed(7, IMAGE, 3) == 7780213228966714301


def test_step_generator_is_a_function_of_seed_and_step():
    draw = torch.rand(4, generator=step_generator(1, 10))
    assert torch.equal(draw, torch.rand(4, generator=step_generator(1, 10)))
    assert not torch.equal(draw, torch.rand(4, generator=step_generator(1, 11)))
    assert not torch.equal(draw, torch.rand(4, generator=step_generator(2, 10)))


@pytest.mark.parametrize("size", [3, 16, 50])
def test_image_noise_does_not_depend_on_the_batch(size: int):
    """Test sizes around 16, below which torch draws normal numbers with another algorithm."""
    like = torch.zeros(0)
    together = standard_normal((6, 1, size), image_generators(5, 0, 6), like)
    apart = [standard_normal((2, 1, size), image_generators(5, first, 2), like) for first in (0, 2, 4)]
    assert together.shape == (6, 1, size) and torch.equal(torch.cat(apart), together)
    assert len({row.sum().item() for row in together}) == 6


def test_standard_normal_takes_shape_dtype_and_generator():
    like = torch.zeros(1, dtype=torch.float64)
    z = standard_normal((40_000,), torch.Generator().manual_seed(0), like)
    assert z.dtype == torch.float64 and z.shape == (40_000,)
    assert torch.equal(z, torch.randn(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert abs(float(z.mean())) < 4.5 / 200 and abs(float(z.var()) - 1) < 4.5 * (2 / 40_000) ** 0.5


def test_neighbouring_images_are_independent():
    """Correlation of 200 neighbouring images' noise over 5,000 pixels, |z| < 4.5: one false alarm in 150,000 seeds."""
    z = standard_normal((200, 5000), image_generators(0, 0, 200), torch.zeros(0))
    products = (z[:-1] * z[1:]).mean(1)
    assert abs(float(products.mean())) < 4.5 / (199 * 5000) ** 0.5


@pytest.mark.parametrize("wrong", ["12", 1.5, True, [], b"1"])
def test_a_seed_is_a_whole_number(wrong):
    for take in (chosen_seed, lambda seed: derived_seed(seed, DRAWS, 0)):
        with pytest.raises(ConfigurationError, match=r"^seed must be a whole number, got .*\.$"):
            take(wrong)


def test_numpy_integers_are_seeds():
    assert chosen_seed(np.int64(7)) == 7 and type(chosen_seed(np.int64(7))) is int
    assert derived_seed(np.uint8(7), DRAWS, 0) == derived_seed(7, DRAWS, 0)


def test_none_draws_a_seed_and_states_it():
    drawn = []
    for _ in range(3):
        with pytest.warns(SeedWarning) as caught:
            drawn.append(chosen_seed(None))
        stated = re.fullmatch(r"drew a fresh seed; seed=(\d+) repeats this result\.", str(caught[0].message))
        assert stated is not None and int(stated[1]) == drawn[-1]
    assert len(set(drawn)) == 3 and all(0 <= seed < DRAWN_SEEDS for seed in drawn)


def test_the_warning_names_the_line_of_the_caller():
    with pytest.warns(SeedWarning) as caught:
        chosen_seed(None)
    with pytest.warns(SeedWarning) as deeper:
        torch.no_grad()(chosen_seed)(None)
    assert caught[0].filename == deeper[0].filename == __file__
