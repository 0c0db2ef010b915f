"""Decisions of a run: its held-out scores are kept, computed anew when they must be, and independent of the images'."""

import json
import shutil

import numpy as np
import pytest
import torch
from scipy import stats

import nelbo
from nelbo.data import load_data
from nelbo.errors import ConfigurationError, DataError
from nelbo.evaluation import DecisionOptions, conformal_p_values, lossless_bits
from nelbo.files import WriteWarning
from nelbo.randomness import HELD_OUT, derived_seed
from nelbo.runs import bundled_models
from nelbo.studies import HELD_OUT_FILE, decide, held_out_part, measure_held_out, score_images, stored_scores
from tests.runs.test_run import flat

pytestmark = pytest.mark.filterwarnings("ignore::nelbo.evaluation.DecisionWarning")
FEW = {"num_held_out": 12, "steps_per_image": 2}
OPTIONS = DecisionOptions(**FEW)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_recipe):
    """A tiny run on the digits."""
    place = tmp_path_factory.mktemp("decisions") / "digits"
    torch.set_num_threads(1)
    overrides = flat(tiny_recipe, {"training.steps": 4})
    nelbo.train("digits", place, preset="digits", overrides=overrides, pictures=False)
    return place


@pytest.fixture
def run(folder, tmp_path):
    return nelbo.load(shutil.copytree(folder, tmp_path / "run"), device="cpu")


@pytest.fixture(scope="module")
def new():
    """Four images that are held out, one of them black."""
    images = load_data("digits").test.images(range(4))
    images[0] = 0
    return images


def stages(run, options=OPTIONS, **given):
    """What was done to find the held-out scores."""
    seen = []
    found = measure_held_out(run, options, progress=lambda stage, done, total: seen.append(stage), **given)
    return found, set(seen)


SCORED = {"scoring held-out images, once"}


def test_decisions_compare_the_scores_with_those_of_held_out_images(run, new):
    found = decide(run, new, OPTIONS)
    scores = run.score(new, steps_per_image=2)
    held_out = run.score(held_out_part(run).spread(12), steps_per_image=2, seed=derived_seed(0, HELD_OUT))
    assert torch.equal(found.scores, scores) and found.num_held_out == 12
    assert torch.equal(found.p_values.upper, conformal_p_values(scores, held_out).upper)
    assert torch.equal(decide(run, new, **FEW).adjusted, found.adjusted)


def test_held_out_images_are_scored_once(run):
    assert stored_scores(run, OPTIONS) is None
    first, did = stages(run)
    assert did == SCORED
    again, did = stages(run)
    assert did == set() and torch.equal(again.score, first.score)
    assert torch.equal(stored_scores(run, OPTIONS).scores, first.score)
    stored = json.loads((run.folder / HELD_OUT_FILE).read_text())
    [scores] = stored["scores"]
    assert stored["model"] == run.digest() and (scores["num"], scores["seed"], scores["steps_per_image"]) == (12, 0, 2)


@pytest.mark.parametrize("change", [{"num_held_out": 13}, {"seed": 1}, {"steps_per_image": 3}])
def test_other_ways_of_scoring_have_scores_of_their_own(run, change):
    stages(run)
    other = DecisionOptions(**{**FEW, **change})
    assert stages(run, other)[1] == SCORED
    assert stages(run, other)[1] == stages(run)[1] == set()


def test_options_of_the_decision_need_no_new_scores(run):
    stages(run)
    assert stages(run, DecisionOptions(**FEW, fdr=0.2, tails="upper", batch_size=5))[1] == set()
    found, did = stages(run, DecisionOptions(**FEW, complexity="png"))
    assert did == {"compressing held-out images as png"}
    assert torch.equal(found.complexity, lossless_bits("png", held_out_part(run).spread(12)))


@pytest.mark.parametrize("part", ["network", "mse"])
def test_scores_of_other_weights_are_dropped(run, part):
    stages(run)
    if part == "mse":
        run.mse = run.mse * 1.5
    else:
        next(run.network.parameters()).data += 0.1
    assert stored_scores(run, OPTIONS) is None
    assert stages(run, DecisionOptions(**FEW, seed=3))[1] == SCORED
    assert len(json.loads((run.folder / HELD_OUT_FILE).read_text())["scores"]) == 1


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"model": 3, "scores": []}', "\xff"])
def test_damaged_scores_are_computed_anew(run, content):
    first, _ = stages(run)
    model = json.loads((run.folder / HELD_OUT_FILE).read_text())["model"]
    (run.folder / HELD_OUT_FILE).write_bytes(content.encode("latin-1"))
    again, did = stages(run)
    assert did == SCORED and torch.equal(again.score, first.score)
    (run.folder / HELD_OUT_FILE).write_text(json.dumps({"model": model, "scores": [{"num": "many"}]}))
    assert stages(run)[1] == SCORED


def test_given_images_replace_those_of_the_run(run):
    others = load_data("digits").train.subset(torch.arange(20))
    found, did = stages(run, data=others)
    assert did == SCORED and len(found.score) == 12
    assert stages(run, data=others)[1] == set()
    assert stages(run, data=others.subset(torch.arange(1, 20)))[1] == SCORED
    assert stored_scores(run, OPTIONS) is None  # they are not the run's own


def test_images_that_cannot_be_read_need_no_reading_once_scored(run, monkeypatch):
    first, _ = stages(run)
    monkeypatch.setattr("nelbo.studies.held_out_scores.held_out_part", lambda *given: pytest.fail("images were read"))
    assert torch.equal(stages(run)[0].score, first.score)


def test_an_imported_model_needs_images(run, new):
    object.__setattr__(run.config.data, "spec", "unknown")
    with pytest.raises(DataError, match="set data where it is accepted"):
        decide(run, new, OPTIONS)
    assert decide(run, new, OPTIONS, data=load_data("digits").test).num_held_out == 12


def test_a_folder_that_cannot_be_written_is_a_warning(run, new, monkeypatch):
    (run.folder / HELD_OUT_FILE).mkdir()
    with pytest.warns(WriteWarning, match=HELD_OUT_FILE):
        decide(run, new, OPTIONS)
    monkeypatch.setattr("nelbo.studies.held_out_scores.bundled_models", lambda: {"digits": run.folder})
    with pytest.warns(WriteWarning, match="the scores of 12 held-out images are not stored in a bundled model"):
        decide(run, new, OPTIONS)


def test_mistakes_are_named(run, new):
    with pytest.raises(ConfigurationError, match="did you mean 'tails'"):
        decide(run, new, tail="upper")
    with pytest.raises(ConfigurationError, match="give options or single options"):
        decide(run, new, OPTIONS, fdr=0.1)


def test_a_vae_has_decisions(tmp_path):
    torch.set_num_threads(1)
    run = nelbo.train("digits", tmp_path / "vae", preset="vae-digits", steps=2, pictures=False)
    images = load_data("digits").test.subset(torch.arange(3))
    assert decide(run, images, num_held_out=30).num_held_out == 30
    assert stored_scores(run, DecisionOptions(num_held_out=30)) is not None
    with pytest.raises(ConfigurationError, match="remove steps_per_image"):
        score_images(run, images, OPTIONS)


def test_the_bundled_scores_belong_to_the_bundled_weights():
    run = nelbo.load("fashion-mnist", device="cpu")
    found = stored_scores(run, DecisionOptions())
    assert found is not None and found.num == 1000
    assert (bundled_models()["fashion-mnist"] / HELD_OUT_FILE).is_file()


def test_halves_of_the_bundled_scores_are_alike():
    """200 random halvings of the 1,000 scores of a real model: the p-values of one half against the other.

    Kolmogorov-Smirnov tests at 5% reject 5% +- 3%, two standard deviations of a share of 200: see
    tests/evaluation/test_conformal.py. The mean share of p-values at most 0.05 is 0.05 up to 1 / 501, and at most that.
    """
    scores = stored_scores(nelbo.load("fashion-mnist", device="cpu"), DecisionOptions()).scores
    places, alarms, shares = (np.arange(1, 501) + 0.5) / 501, 0, []
    for seed in range(200):
        order = torch.randperm(1000, generator=torch.Generator().manual_seed(seed))
        p_values = conformal_p_values(scores[order[:500]], scores[order[500:]]).upper
        alarms += stats.ks_2samp(p_values.numpy(), places).pvalue <= 0.05
        shares.append(float((p_values <= 0.05).double().mean()))
    assert 0.02 <= alarms / 200 <= 0.08
    error = np.std(shares) / np.sqrt(200)
    assert 0.05 - 1 / 501 - 3 * error <= np.mean(shares) <= 0.05 + 3 * error
