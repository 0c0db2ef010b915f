"""Recipes: presets, JSON, overrides, and fitting them to data."""

import json
import math
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nelbo.errors import ConfigurationError, ScheduleError
from nelbo.recipes import PRESETS, Recipe, ScheduleOptions, default_preset, preset
from nelbo.recipes.assembly import build_network, build_schedule
from nelbo.recipes.families import build_objective, fit_to_data
from nelbo.recipes.fitting import AssemblyWarning
from nelbo.recipes.presets import DESCRIPTIONS

pytestmark = pytest.mark.filterwarnings("ignore::nelbo.recipes.fitting.AssemblyWarning")


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_survives_json(name):
    recipe = preset(name)
    assert type(recipe).from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert name in DESCRIPTIONS


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_assembled(name):
    recipe = preset(name)
    shape = (2, 1, 1) if name == "points" else (getattr(recipe.network, "channels", 1), 32, 32)
    recipe = fit_to_data(recipe, shape, ())
    with torch.device("meta"):
        build_network(recipe)
    objective = build_objective(recipe, 256)
    if isinstance(recipe, Recipe):
        assert objective.schedule.num_steps == recipe.schedule.num_steps
    else:
        assert objective.latent == recipe.network.latent


def test_data_sets_have_default_presets():
    assert {default_preset(folder) for folder in ("cifar10", "points", "lsun256")} == {"images"}
    assert [default_preset(d) for d in ("digits", "fashion-mnist", "toy:moons", "photos", "x.npy")] == [
        "digits",
        "fashion-mnist",
        "points",
        "images",
        "images",
    ]


def test_an_unknown_preset_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match=r"unknown preset 'fasion-mnist'; did you mean 'fashion-mnist'\?"):
        preset("fasion-mnist")
    with pytest.raises(ConfigurationError, match=r"unknown preset 'zzz'; choose from cifar10, digits"):
        preset("zzz")


def test_overrides_change_only_what_they_name():
    before = preset("cifar10")
    after = before.with_overrides({"loss": "hybrid", "network.base": 64, "training.betas": [0.5, 0.9]})
    assert (after.loss, after.network.base, after.training.betas) == ("hybrid", 64, (0.5, 0.9))
    undone = after.with_overrides({"loss": "simple", "network.base": 128, "training.betas": (0.9, 0.999)})
    assert undone == before


def test_the_order_of_overrides_does_not_matter():
    """Base 36 does not fit the preset's 16 groups, nor 9 groups base 64: only both together are valid."""
    changes = {"network.base": 36, "network.groups": 9}
    for order in (changes, dict(reversed(changes.items()))):
        recipe = preset("images").with_overrides(order)
        assert (recipe.network.base, recipe.network.groups) == (36, 9)
    budget = {"training.minutes": None, "training.steps": 3}
    assert preset("images").with_overrides(budget).training.steps == 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"training.learning_rat": 1}, r"unknown setting \(training.learning_rat\) 'learning_rat'; did you mean"),
        ({"trainin.steps": 1}, r"did you mean 'training'\?"),
        ({"loss.kind": 1}, r"'loss.kind' names a part of 'loss', which has no parts"),
        ({"network": 3}, r"'network' has parts"),
        ({"training.steps": "many"}, r"the setting training\.steps is 'many'; expected a whole number or null"),
        ({"training.batch_size": 1.5}, r"the setting training\.batch_size is 1.5; expected a whole number"),
        ({"training.batch_size": True}, r"the setting training\.batch_size is True; expected a whole number"),
        ({"network.multipliers": 2}, r"the setting network\.multipliers is 2; expected a list"),
        ({"network.multipliers": ["a"]}, r"the setting network\.multipliers is \['a'\]; expected a list"),
        ({"training.betas": [0.9]}, r"the setting training\.betas is \[0.9\]; expected a list"),
        ({"training.flip": "yes"}, r"the setting training\.flip is 'yes'; expected true or false"),
        ({"loss": None}, r"the setting loss is None; expected a string"),
        ({"training.learning_rate": math.nan}, r"training.learning_rate must be a finite number above 0, got nan"),
    ],
)
def test_invalid_overrides_are_refused(overrides, message):
    with pytest.raises(ConfigurationError, match=message):
        preset("images").with_overrides(overrides)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"loss": "simpel"}, r"unknown loss 'simpel'; did you mean 'simple'\?"),
        ({"parameterization": "nois"}, r"unknown parameterization 'nois'; did you mean 'noise'\?"),
        ({"variance": "fixed"}, r"unknown variance 'fixed'"),
        ({"timesteps": "stratifid"}, r"did you mean 'stratified'\?"),
        ({"schedule.kind": "cosin"}, r"unknown schedule kind 'cosin'; did you mean 'cosine'\?"),
        ({"label_dropout": 1.5}, r"label_dropout must be a fraction within 0..1, got 1.5"),
        (
            {"sigmoid": 0.0, "loss": "variational"},
            r"sigmoid weights the simple loss; remove it or use loss='simple'",
        ),
        ({"min_snr": 5.0, "sigmoid": 0.0}, r"min_snr and sigmoid both weight the simple loss; keep one of them"),
        (
            {"min_snr": 5.0, "loss": "variational"},
            r"min_snr weights the simple loss; remove it or use loss='simple'",
        ),
        ({"min_snr": -1.0}, r"min_snr must be a signal-to-noise ratio above 0, such as 5; got -1.0"),
        ({"schedule.kind": "learned"}, r"a learned schedule is trained in continuous time; set timesteps='continuous'"),
        ({"timesteps": "continuous"}, r"which needs schedule.kind='log-linear' or schedule.kind='learned'; got linear"),
        (
            {"timesteps": "continuous", "schedule.kind": "learned"},
            r"trains on the bound for infinitely many steps, which needs loss='variational'; got simple",
        ),
        (
            {"timesteps": "continuous", "schedule.kind": "log-linear", "loss": "variational"},
            r"needs variance='fixed-small'; got fixed-large",
        ),
        ({"loss": "hybrid"}, r"the hybrid loss trains a learned variance; 'fixed-large' is fixed"),
        ({"variance": "learned-range"}, r"the simple loss does not train a learned variance; use loss='hybrid'"),
    ],
)
def test_unknown_names_are_refused_at_assembly(overrides, message):
    with pytest.raises(ConfigurationError, match=message):
        recipe = preset("cifar10").with_overrides(overrides)
        build_objective(recipe, 256)


@pytest.mark.parametrize(
    ("shape", "depth"),
    [
        ((1, 28, 28), 4),
        ((3, 30, 30), 4),
        ((3, 31, 31), 4),
        ((3, 1, 1), 1),
        ((1, 8, 8), 4),
        ((3, 64, 48), 4),
        ((2, 4, 6), 2),
        ((2, 40, 56), 4),
        ((2, 4, 5), 2),
    ],
)
def test_a_recipe_fits_odd_sizes(shape, depth):
    small = {"network.base": 16, "network.groups": 4, "network.multipliers": (1, 2, 4, 4), "network.attention": (3,)}
    recipe = fit_to_data(preset("images").with_overrides(small), shape, ())
    assert recipe.network.multipliers == (1, 2, 4, 4)[:depth]
    assert recipe.network.channels == shape[0]
    assert recipe.network.attention == ((3,) if depth == 4 else ())
    network = build_network(recipe)
    with torch.no_grad():
        assert network(torch.zeros(1, *shape), torch.ones(1)).shape == (1, *shape)


@given(height=st.integers(1, 300), width=st.integers(1, 300))
def test_a_fitted_network_pads_a_side_by_a_quarter_at_most(height, width):
    network = fit_to_data(preset("images"), (3, height, width), ()).network
    for side in (height, width):
        assert side <= network.padded(side) <= 1.25 * side
        assert network.padded(side) % 2 ** (len(network.multipliers) - 1) == 0


def test_a_learned_variance_doubles_the_output():
    recipe = preset("images").with_overrides({"variance": "learned-range", "loss": "variational"})
    assert fit_to_data(recipe, (3, 8, 8), ()).network.learned_variance


def test_classes_need_a_conditional_model():
    recipe = preset("digits")
    unconditional = recipe.with_overrides({"conditional": False})
    assert fit_to_data(unconditional, (1, 8, 8), [150] * 10).network.num_classes is None
    conditional = recipe.with_overrides({"conditional": True})
    assert fit_to_data(conditional, (1, 8, 8), [150] * 10).network.num_classes == 10
    with pytest.raises(ConfigurationError, match="a conditional model needs classes; put the images of each class"):
        fit_to_data(conditional, (1, 8, 8), ())


@pytest.mark.parametrize("name", ["digits", "dit-digits", "fashion-mnist", "images", "dit"])
@pytest.mark.parametrize(
    ("class_counts", "conditional"),
    [
        ((), False),
        ((500,), False),
        ((500, 0), False),  # every image of the second class is held out
        ((10, 10), True),
        ((19, 1), True),
        ((18, 1), False),
        ((19, 1, 0), True),
        ([2] * 300, False),
    ],
)
def test_presets_are_conditional_if_there_are_enough_images_of_each_class(name, class_counts, conditional):
    fitted = fit_to_data(preset(name), (1, 8, 8), class_counts)
    assert fitted.conditional is conditional
    assert fitted.network.num_classes == (len(class_counts) if conditional else None)
    assert (f"class-conditional ({len(class_counts)} classes)" in fitted.in_words) is conditional


def test_conditional_that_is_given_wins_over_the_rule():
    assert fit_to_data(preset("images").with_overrides({"conditional": True}), (1, 8, 8), [2] * 300).conditional is True
    for recipe in (preset("images").with_overrides({"conditional": False}), preset("cifar10"), Recipe()):
        assert fit_to_data(recipe, (1, 8, 8), [150] * 10).conditional is False


def test_lost_resolutions_are_reported():
    with pytest.warns(
        AssemblyWarning,
        match="images of 5 x 28 are too small .* keeps 2 of its 3; set size to at least 4 to keep all",
    ):
        fit_to_data(preset("images"), (3, 28, 5), ())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in ((3, 28, 32), (3, 30, 28)):
            assert fit_to_data(preset("images"), shape, ()).network.multipliers == (1, 2, 4)


@pytest.mark.parametrize(
    ("shape", "patch"),
    [((3, 8, 8), 4), ((3, 30, 30), 4), ((1, 13, 32), 4), ((2, 5, 9), 3), ((2, 5, 6), 3), ((1, 1, 7), 1)],
)
def test_a_transformer_fits_odd_sizes(shape, patch):
    small = {"network.width": 16, "network.depth": 1, "network.heads": 2, "network.patch": 4}
    recipe = fit_to_data(preset("dit").with_overrides(small), shape, ())
    assert (recipe.network.patch, recipe.network.channels) == (patch, shape[0])
    with torch.no_grad():
        assert build_network(recipe)(torch.zeros(1, *shape), torch.ones(1)).shape == (1, *shape)


@given(height=st.integers(1, 300), width=st.integers(1, 300), patch=st.integers(1, 16))
def test_a_fitted_transformer_pads_a_side_by_a_quarter_at_most(height, width, patch):
    network = fit_to_data(preset("dit").with_overrides({"network.patch": patch}), (3, height, width), ()).network
    for side in (height, width):
        assert side <= network.padded(side) <= 1.25 * side
        assert network.padded(side) % network.patch == 0


def test_a_smaller_patch_is_reported():
    with pytest.warns(AssemblyWarning, match="images of 5 x 28 are too small for patches of 4 x 4, .* of 3 x 3"):
        fit_to_data(preset("dit").with_overrides({"network.patch": 4}), (3, 28, 5), ())


def test_an_mlp_can_be_conditional():
    changes = {"conditional": True, "variance": "learned-range", "loss": "hybrid"}
    recipe = fit_to_data(preset("points").with_overrides(changes), (2, 1, 1), (5, 5, 5))
    assert (recipe.network.num_classes, recipe.network.learned_variance) == (3, True)
    objective = build_objective(recipe, 256)
    draws = objective.draw(4, (2, 1, 1), torch.Generator().manual_seed(0))
    images, labels = torch.zeros(4, 2, 1, 1, dtype=torch.uint8), torch.tensor([0, 1, 2, -1])
    assert objective(build_network(recipe), images, labels, draws).loss.shape == (4,)


def test_points_set_the_size_of_the_mlp():
    assert fit_to_data(preset("points"), (3, 1, 1), ()).network.dims == 3


def test_schedules_are_built_by_kind():
    linear = build_schedule(preset("cifar10").schedule)
    assert float(linear.betas[1]) == pytest.approx(1e-4)
    assert float(linear.betas[-1]) == pytest.approx(0.02)
    logs = build_schedule(preset("images").schedule).log_snr
    assert (float(logs[1]), float(logs[-1])) == pytest.approx((4.0, -13.0))


def test_a_table_needs_a_beta_per_step():
    table = build_schedule(ScheduleOptions("table", 2, betas=(0.5, 0.999)))
    assert table.betas.tolist() == pytest.approx([0, 0.5, 0.999])
    recipe = preset("cifar10").with_overrides(
        {"schedule.kind": "table", "schedule.betas": [0.5], "schedule.num_steps": 1}
    )
    assert type(recipe).from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    with pytest.raises(ConfigurationError, match=r"has 2 entries and schedule\.num_steps is 1000"):
        build_schedule(ScheduleOptions("table", betas=(0.5, 0.9)))
    with pytest.raises(ScheduleError, match="beta_2 = 0"):
        build_schedule(ScheduleOptions("table", 2, betas=(0.9, 0.0)))
