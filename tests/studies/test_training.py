"""Training runs that go wrong, are repeated, or get contradicting options."""

import json
import math
import warnings

import pytest

import nelbo
from nelbo.data import DataWarning
from nelbo.errors import ConfigurationError, RunError
from nelbo.files import WriteWarning
from nelbo.studies import Listener, data_of
from nelbo.studies.session import Session
from nelbo.training import METRICS_FILE, MetricsLog
from tests.conftest import write_pictures

TINY = {
    "schedule.num_steps": 8,
    "parameterization": "noise",
    "loss": "simple",
    "decoder.kind": "gaussian",
    "network.base": 8,
    "network.groups": 4,
    "network.multipliers": (1, 2),
    "network.blocks": 1,
    "network.fourier": (),
    "network.slopes": (),
    "training.batch_size": 4,
    "training.precision": "fp32",
}


def train(data, out, **how):
    return nelbo.train(data, out, **{"steps": 2, "pictures": False, "overrides": TINY, **how})


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"minutes": 60}, "^minutes=60 and the override training.minutes=5 contradict each other; give one of them"),
        ({"steps": 3}, "^steps=3 and the override training.steps=4 contradict"),
        ({"seed": 1}, "^seed=1 and the override training.seed=2 contradict"),
        ({"seed": None}, "^seed=None and the override training.seed=2 contradict"),
    ],
)
def test_contradicting_settings_are_refused(tmp_path, how, message):
    overrides = {"training.minutes": 5, "training.steps": 4, "training.seed": 2}
    with pytest.raises(ConfigurationError, match=message):
        nelbo.train("digits", tmp_path / "run", overrides=overrides, **how)
    assert not (tmp_path / "run").exists()


def test_minutes_that_are_no_number_contradict_nothing(tmp_path):
    with pytest.raises(ConfigurationError, match=r"minutes.* must be a finite number above 0, got nan"):
        nelbo.train("digits", tmp_path / "run", minutes=math.nan)


def test_a_preview_that_cannot_be_written_is_a_warning(tmp_path):
    out = tmp_path / "run"
    listener = Listener(on_config=lambda *_: (out / "samples").write_text("in the way"))
    with pytest.warns(WriteWarning, match=r"samples.*could not be written"):
        run = train(write_pictures(tmp_path / "pictures", 24), out, listener=listener)
    assert run.calibrated and len(run.metrics) > 0


def test_curves_without_a_finite_value_are_not_drawn(tmp_path):
    log = MetricsLog(tmp_path / METRICS_FILE)
    log.append({"step": 1, "loss": math.inf})
    log.append({"step": 1, "held_out_bits_per_dim": math.nan, "held_out_standard_error": None})
    session = Session(tmp_path, None, None, Listener())
    session.draw_curves()
    assert list(tmp_path.glob("*.png")) == []
    log.append({"step": 2, "loss": 3.0, "held_out_bits_per_dim": 4.0, "held_out_standard_error": None})
    session.draw_curves()
    assert {path.name for path in tmp_path.glob("*.png")} == {"loss.png", "bound.png"}


def test_exchanged_image_files_are_noticed(tmp_path):
    pictures, out = write_pictures(tmp_path / "pictures", 24), tmp_path / "run"
    run = train(pictures, out)
    with warnings.catch_warnings(action="error"):
        assert data_of(run).names == run.config.data.names
    (pictures / "picture-003.png").rename(pictures / "picture-099.png")
    with pytest.warns(DataWarning, match=r"added, removed or renamed in .*pictures since .* may include training"):
        data_of(run)
    with pytest.raises(RunError, match=r"\(names of the image files in data: '\w+' stored, '\w+' given\)"):
        nelbo.train(None, out, steps=3, pictures=False)
    config = json.loads((out / "config.json").read_text())
    del config["data"]["names"]  # as in a run of an earlier version
    (out / "config.json").write_text(json.dumps(config))
    with warnings.catch_warnings(action="error", category=DataWarning):
        data_of(nelbo.load(out))
    assert nelbo.train(None, out, steps=3, pictures=False).config.data.names is not None
