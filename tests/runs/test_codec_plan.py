"""A codec plan is valid for the weights that it was measured for, and for no others."""

import json
import re
import shutil
import warnings
from pathlib import Path

import pytest
import torch

import nelbo
from nelbo.codec import FittingOptions
from nelbo.errors import ConfigurationError, NelboWarning, RunError
from nelbo.files import read_metadata, read_tensors, write_tensors
from nelbo.interop import export_model
from nelbo.runs import PLAN_FILE, find_model, fit_codec
from nelbo.runs.codec_plan import mark_stale

TINY = Path(__file__).parents[1] / "codec" / "golden" / "tiny"


@pytest.fixture
def folder(tmp_path):
    """A copy of a tiny run with its plan."""
    return shutil.copytree(TINY, tmp_path / "runs" / "tiny")


def shift_weights(folder: Path) -> None:
    tensors, metadata = read_tensors(folder / "model.safetensors")
    name = next(name for name in tensors if name.startswith("network."))
    write_tensors(folder / "model.safetensors", {**tensors, name: tensors[name] + 1e-3}, metadata)


def test_a_valid_plan_gives_a_codec(folder):
    codec = nelbo.load(folder).codec()
    assert codec.fingerprint.hex() == read_metadata(folder / PLAN_FILE)["fingerprint"]


def test_a_missing_plan_names_the_command(folder):
    (folder / PLAN_FILE).unlink()
    with pytest.raises(ConfigurationError, match="measure it once with `nelbo codec"):
        nelbo.load(folder).codec()


def test_other_weights_make_the_plan_stale(folder):
    shift_weights(folder)
    with pytest.raises(RunError, match=r"measured for other weights .* measure it again with `nelbo codec"):
        nelbo.load(folder).codec()


def test_a_marked_plan_is_refused(folder):
    assert mark_stale(folder)
    assert not mark_stale(folder)
    with pytest.raises(RunError, match="measured for other weights"):
        nelbo.load(folder).codec()


def test_a_plan_without_a_fingerprint_is_refused(folder):
    write_tensors(folder / PLAN_FILE, read_tensors(folder / PLAN_FILE)[0], {})
    with pytest.raises(RunError, match="measured for other weights"):
        nelbo.load(folder).codec()


def test_a_folder_without_a_plan_cannot_be_marked(tmp_path):
    assert not mark_stale(tmp_path)


@pytest.mark.parametrize("name", sorted(read_tensors(TINY / PLAN_FILE)[0]))
def test_a_plan_that_lacks_a_tensor_is_a_run_error(folder, name):
    tensors, metadata = read_tensors(folder / PLAN_FILE)
    write_tensors(folder / PLAN_FILE, {key: value for key, value in tensors.items() if key != name}, metadata)
    with pytest.raises(RunError, match=rf"has no tensor {re.escape(name)};"):
        nelbo.load(folder).codec()


def test_an_uncalibrated_model_is_a_run_error(folder):
    run = nelbo.load(folder)
    run.mse = None
    with pytest.raises(RunError, match="is not calibrated"):
        run.codec()
    with pytest.raises(RunError, match="is not calibrated"):
        fit_codec(run, nelbo.load_data("digits").train, FittingOptions())


@pytest.mark.slow
def test_training_further_marks_the_plan_stale(folder, tiny_recipe, tmp_path):
    run = tmp_path / "run"
    overrides = {"training.steps": 2, "training.batch_size": 4, "training.compile": False, "network.base": 16}
    nelbo.train("digits", run, overrides=overrides)
    shutil.copy(folder / PLAN_FILE, run / PLAN_FILE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nelbo.train(None, run, overrides={"training.steps": 2})
        assert not [each for each in caught if issubclass(each.category, NelboWarning)]
        assert "stale" not in read_metadata(run / PLAN_FILE)
        nelbo.train(None, run, overrides={"training.steps": 3})
    (warning,) = [each for each in caught if issubclass(each.category, NelboWarning)]
    assert "can no longer be decoded" in str(warning.message)
    assert read_metadata(run / PLAN_FILE)["stale"] is True


def test_a_stale_plan_is_found_and_named(folder, monkeypatch):
    start = bytes.fromhex(read_metadata(folder / PLAN_FILE)["fingerprint"])[:8]
    monkeypatch.setenv("NELBO_MODELS", str(folder.parent))
    assert find_model(start) == folder
    mark_stale(folder)
    with pytest.raises(RunError, match="measured for other weights"):
        nelbo.load(find_model(start)).codec()


def test_the_plan_tensors_are_unchanged_by_marking(folder):
    before = read_tensors(folder / PLAN_FILE)[0]
    mark_stale(folder)
    after = read_tensors(folder / PLAN_FILE)[0]
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_stale_plan_is_not_exported(folder, tmp_path):
    assert export_model(folder, tmp_path / "valid", format="nelbo").notes == ()
    assert (tmp_path / "valid" / PLAN_FILE).is_file()
    mark_stale(folder)
    exported = export_model(folder, tmp_path / "stale", format="nelbo")
    assert exported.notes == ("codec.safetensors is not exported: it was measured for earlier weights",)
    assert not (tmp_path / "stale" / PLAN_FILE).exists()


def test_a_valid_copy_is_preferred_to_a_stale_plan(folder, tmp_path, monkeypatch):
    copy = shutil.copytree(folder, tmp_path / "runs" / "zz-copy")
    start = bytes.fromhex(read_metadata(folder / PLAN_FILE)["fingerprint"])[:8]
    monkeypatch.setenv("NELBO_MODELS", str(folder.parent))
    mark_stale(folder)
    assert find_model(start) == copy


def test_a_learned_variance_is_refused(tmp_path, tiny_recipe):
    settings = {"training.steps": 1, "network.base": 8, "network.groups": 4, "variance": "learned-range"}
    run = nelbo.train("digits", tmp_path / "run", overrides={**settings, "loss": "hybrid", "schedule.num_steps": 5})
    with pytest.raises(ConfigurationError, match="needs a variance that is fixed in training"):
        fit_codec(run, nelbo.load_data("digits").train)


def test_a_calibration_for_other_steps_is_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    config["schedule"]["num_steps"] += 1
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RunError, match=r"was calibrated for \d+ steps, but the schedule in config\.json has"):
        nelbo.load(folder)
