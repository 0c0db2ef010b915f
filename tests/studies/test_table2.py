"""The grid of Table 2: its cells, their results, and resuming."""

from collections import Counter

import pytest

from nelbo.data import load_data
from nelbo.errors import ConfigurationError, DataError, NelboError, RunError
from nelbo.evaluation import FeatureModule
from nelbo.recipes.families import build_objective, fit_to_data
from nelbo.runs import load
from nelbo.studies import CellRecord, GridListener, GridOptions, run_table2, session, table2_cells
from nelbo.studies.table2 import runner
from tests.conftest import write_pictures

TINY = {
    "schedule.num_steps": 6,
    "schedule.beta_T": 0.9,
    "network.base": 8,
    "network.groups": 4,
    "network.multipliers": [1],
    "network.blocks": 1,
    "network.attention": [],
    "network.fourier": [],
    "training.batch_size": 4,
    "training.warmup": 0,
    "training.precision": "fp32",
}


@pytest.fixture
def options(tmp_path):
    """Options of a tiny grid on noise."""
    pictures = write_pictures(tmp_path / "pictures", 60)
    return lambda **more: GridOptions(str(pictures), **({"steps": 2, "num_images": 5, "overrides": TINY} | more))


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Skip the pictures in the run folders: they take most of the time and are not tested here."""
    monkeypatch.setattr(session, "show_run", lambda *_, **__: None)
    monkeypatch.setattr(session.Session, "draw_curves", lambda _: None)


@pytest.fixture
def three(monkeypatch):
    """Three of the cells, each with a different loss."""
    cells = [table2_cells()[place] for place in (6, 9, 23)]
    monkeypatch.setattr(runner, "table2_cells", lambda: cells)
    return cells


def test_cells_are_those_of_the_paper():
    cells = table2_cells()
    assert len(cells) == len(set(cells)) == len({cell.name for cell in cells}) == 24
    assert Counter(cell.parameterization for cell in cells) == dict.fromkeys(("mean", "noise", "data", "velocity"), 6)
    assert Counter((cell.loss, cell.variance) for cell in cells) == {
        ("variational", "fixed-large"): 4,
        ("variational", "fixed-small"): 4,
        ("variational", "learned-range"): 4,
        ("simple", "fixed-large"): 4,
        ("simple", "fixed-small"): 4,
        ("hybrid", "learned-range"): 4,
    }


def test_cells_differ_only_in_their_own_settings():
    options = GridOptions("digits", minutes=1.0)
    recipes = [options.recipe(cell).to_json() for cell in table2_cells()]
    for cell, recipe in zip(table2_cells(), recipes, strict=True):
        assert {name: recipe.pop(name) for name in vars(cell)} == vars(cell)
        build_objective(fit_to_data(options.recipe(cell), (1, 8, 8), [150] * 10, 17), 17)
        assert options.recipe(cell).conditional is False  # as in the paper, although the preset leaves it to the data
    assert all(recipe == recipes[0] for recipe in recipes)
    assert (recipes[0]["schedule"]["kind"], recipes[0]["schedule"]["num_steps"]) == ("linear", 1000)


def test_killed_grid_resumes(tmp_path, options, three):
    out, seen = tmp_path / "grid", []

    def kill(name, done, total):
        if seen and name == "scoring":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_table2(out, options(), GridListener(on_record=seen.append, on_stage=kill))
    assert [record.cell for record in seen] == three[:1]
    stages = []
    found = run_table2(out, options(), GridListener(on_stage=lambda name, done, total: stages.append(name)))
    assert stages.count("training") == 2  # the third cell only: the second was trained before the kill
    assert [record.cell for record in found.records] == three
    assert found.records[0] == seen[0]
    for record in found.records:
        assert record.steps == 2
        assert record.bits_per_dim > 0
        assert load(out / "cells" / record.cell.name).recipe.loss == record.cell.loss
    stages.clear()
    assert run_table2(out, options(), GridListener(on_stage=lambda *stage: stages.append(stage))) == found
    assert {name for name, *_ in stages} == {"reading images"}


def test_bound_uses_the_variance_of_the_cell(tmp_path, options, monkeypatch):
    cell = table2_cells()[7]
    monkeypatch.setattr(runner, "table2_cells", lambda: [cell])
    record = run_table2(tmp_path / "grid", options()).records[0]
    test = load_data(options().data).test
    run = load(tmp_path / "grid" / "cells" / cell.name)
    own = run.bound(test, variance="fixed-small", steps_per_image=runner.VALUES_OF_T).total
    assert record.bits_per_dim == pytest.approx(own, rel=1e-5)
    assert own != pytest.approx(run.bound(test, steps_per_image=runner.VALUES_OF_T).total, rel=1e-3)  # calibrated


@pytest.mark.parametrize("rate", [1e9, 1e30])
def test_diverging_cells_are_recorded_as_unstable(tmp_path, options, three, rate):
    diverging = options(steps=4, overrides={**TINY, "training.learning_rate": rate, "training.clip_gradient": 1e30})
    found = run_table2(tmp_path / "grid", diverging)
    assert [record.cell for record in found.records] == three
    assert all(record.unstable for record in found.records)
    assert run_table2(tmp_path / "grid", diverging) == found


def test_unreadable_images_stop_the_grid(tmp_path, options, monkeypatch):
    monkeypatch.setattr(runner, "table2_cells", lambda: table2_cells()[6:7])

    def fails(*_, **__):
        raise DataError("the share is gone.")

    with monkeypatch.context() as patch:
        patch.setattr(runner, "train", fails)
        with pytest.raises(DataError, match="the share is gone"):
            run_table2(tmp_path / "grid", options())
    assert list((tmp_path / "grid").rglob("cell.json")) == []
    assert run_table2(tmp_path / "grid", options()).records[0].bits_per_dim > 0


def test_an_interrupted_start_can_be_repeated(tmp_path, options, monkeypatch):
    monkeypatch.setattr(runner, "table2_cells", lambda: [])

    def interrupted(data, split, place, **_):
        (place / "classifier.safetensors").write_text("begun")
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "own_features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_table2(tmp_path / "grid", options())
    features = FeatureModule("means", 3, lambda images: images.float().mean((2, 3)), None, "of channels")
    monkeypatch.setattr(runner, "own_features", lambda *_, **__: features)
    assert run_table2(tmp_path / "grid", options()).records == []


def test_exchanged_image_files_are_refused(tmp_path, options, monkeypatch):
    monkeypatch.setattr(runner, "table2_cells", lambda: [])
    run_table2(tmp_path / "grid", options())
    pictures = tmp_path / "pictures"
    (pictures / "picture-003.png").rename(pictures / "picture-099.png")
    with pytest.raises(RunError, match=r"names of the image files in data: '.*' stored, '.*' given"):
        run_table2(tmp_path / "grid", options())


def test_distance_is_added_without_retraining(tmp_path, options, monkeypatch):
    cells = table2_cells()[:1]
    monkeypatch.setattr(runner, "table2_cells", lambda: cells)

    def none(*_, **__):
        raise DataError("there are none")

    monkeypatch.setattr(runner, "own_features", none)
    before = run_table2(tmp_path / "grid", options())
    assert all(record.frechet is None for record in before.records)
    stages, features = [], FeatureModule("means", 3, lambda images: images.float().mean((2, 3)), None, "of channels")
    monkeypatch.setattr(runner, "own_features", lambda *_, **__: features)
    after = run_table2(tmp_path / "grid", options(), GridListener(on_stage=lambda *stage: stages.append(stage)))
    assert {name for name, *_ in stages} <= {"reading images", "features", "resamples"}
    for record in after.records:
        assert record.frechet["features"] == "means"
        assert record.frechet["num_generated"] == 5
        assert record.frechet["distance"] > 0
    assert [record.bits_per_dim for record in after.records] == [record.bits_per_dim for record in before.records]


def test_changed_settings_are_refused_by_name(tmp_path, options, three, monkeypatch):
    monkeypatch.setattr(runner.CellRun, "record", lambda work: CellRecord(work.cell, "no", 0, 0.0, None, None))
    run_table2(tmp_path / "grid", options())
    with pytest.raises(RunError, match="steps: 2 stored, 3 given"):
        run_table2(tmp_path / "grid", options(steps=3))
    with pytest.raises(RunError, match="num_images: 5 stored, 6 given"):
        run_table2(tmp_path / "grid", options(num_images=6))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter").write_text("dear")
    with pytest.raises(RunError, match="holds no grid"):
        run_table2(tmp_path / "other", options())


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": None},
        {"minutes": 1.0},
        {"num_images": 1},
        {"preset": "vae-digits"},
        {"overrides": {"loss": "simple"}},
        {"overrides": {"training.seed": 3}},
    ],
)
def test_invalid_options_are_refused(options, wrong):
    with pytest.raises(ConfigurationError):
        options(**wrong)


def test_bad_features_or_folder_write_nothing(tmp_path, options):
    with pytest.raises(ConfigurationError, match=r"absent\.pt' is no file"):
        run_table2(tmp_path / "grid", options(features="absent.pt"))
    assert not (tmp_path / "grid").exists()
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(RunError, match="is a file; out needs a folder"):
        run_table2(tmp_path / "letter", options())


def test_unknown_setting_writes_nothing(tmp_path, options):
    with pytest.raises(NelboError, match="multipliers"):
        run_table2(tmp_path / "grid", options(overrides={"network.multipliars": [1]}))
    assert not (tmp_path / "grid").exists()
