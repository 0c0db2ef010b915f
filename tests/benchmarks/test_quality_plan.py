"""The plan of the quality benchmark: names, recipes, order, and what is refused."""

import numpy as np
import pytest
import torch

from benchmarks.quality.__main__ import arguments, planned
from benchmarks.quality.comparison import FIRST, SECOND, Comparison, classifier_options
from benchmarks.quality.plan import DEFAULT, chosen_entries, parse_recipe, parse_sampler
from nelbo.errors import ConfigurationError, RunError
from nelbo.studies import DataRequest

REQUEST = DataRequest("digits")


def labels(*given: str) -> list[str]:
    options = arguments(["--out", "x", *given])
    entries = chosen_entries(options.models, options.recipe)
    return [str(job) for job in planned(options, entries, REQUEST, 1000)]


def test_recipe_has_its_settings():
    entry = parse_recipe("wide:digits,network.base=48,network.multipliers=[1,2,2],loss=simple")
    assert entry.name == "wide"
    assert entry.settings == {
        "preset": "digits",
        "overrides": {"network.base": 48, "network.multipliers": [1, 2, 2], "loss": "simple"},
    }


@pytest.mark.parametrize("text", ["wide", "nelbo:digits", "a/b:digits", "wide:digit", "wide:digits,network.bse=48"])
def test_wrong_recipe_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_recipe(text)


@pytest.mark.parametrize(
    "text", ["ddim", "ddim:x", "dim:20:even", "ddim:20:even:x", "ddim:20:even:inf", "ddim:20:even:1:1"]
)
def test_wrong_sampler_is_refused(text):
    with pytest.raises(ConfigurationError):
        parse_sampler(text)


def test_sampler_has_its_spacing():
    cell = parse_sampler("dpm-solver++sde:20:karras")
    assert (cell.sampler, cell.steps, cell.spacing, cell.calls) == ("dpm-solver++sde", 20, "karras", 20)
    assert cell.guidance == 1 and cell.name == "dpm-solver++sde-20-karras"
    guided = parse_sampler("dpm-solver++sde:16:karras:1.5")
    assert guided.guidance == 1.5 and guided.name == "dpm-solver++sde-16-karras-1.5"


def test_recipes_replace_the_default_models():
    recipe = parse_recipe("wide:digits")
    assert [entry.name for entry in chosen_entries(None, [])] == list(DEFAULT)
    assert chosen_entries(None, [recipe]) == [recipe]
    assert [entry.name for entry in chosen_entries(["diffusers"], [recipe])] == ["diffusers", "wide"]
    with pytest.raises(ConfigurationError, match="diffusers"):
        chosen_entries(["difusers"], [])


def test_second_trainings_have_the_reverse_order():
    given = [
        "--minutes",
        "10",
        "60",
        "--models",
        "nelbo",
        "diffusers",
        "diffusers-fast",
        "--again",
        "nelbo",
        "diffusers",
    ]
    once = ["nelbo", "diffusers", "diffusers-fast", "diffusers.2", "nelbo.2"]
    assert labels(*given) == [f"{name}, {minutes} minutes" for minutes in (10, 60) for name in once]


def test_halves_of_the_held_out_images_are_disjoint(tmp_path):
    comparison = Comparison.of(tmp_path, REQUEST, 148)
    assert len(comparison.reference) == len(comparison.other) == 148
    both = torch.cat([comparison.reference, comparison.other]).flatten(1)
    test = comparison.split.test.images(range(296)).flatten(1)
    assert sorted(both.tolist()) == sorted(test.tolist())


def test_too_many_images_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"within 2\.\.148"):
        Comparison.of(tmp_path, REQUEST, 149)


def test_other_data_in_the_folder_is_refused(tmp_path):
    Comparison.of(tmp_path, REQUEST, 10)
    with pytest.raises(RunError, match="size"):
        Comparison.of(tmp_path, DataRequest("digits", size=8), 10)


def test_classifiers_differ_and_fit_small_images(tmp_path):
    data = Comparison.of(tmp_path, REQUEST, 10).data
    first, second = classifier_options(FIRST, data), classifier_options(SECOND, data)
    assert first.widths != second.widths
    assert first.num_features != second.num_features


def test_data_without_a_held_out_part_is_not_repeated(tmp_path):
    many = torch.randint(0, 256, (100, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    np.save(tmp_path / "many.npy", many.numpy())
    request = DataRequest(str(tmp_path / "many.npy"), held_out=40)
    comparison = Comparison.of(tmp_path / "out", request, 20)
    with pytest.raises(ConfigurationError, match="holds out other images"):
        comparison.require_repeatable(request)
    Comparison.of(tmp_path / "digits", REQUEST, 20).require_repeatable(REQUEST)
