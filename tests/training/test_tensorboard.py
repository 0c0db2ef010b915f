"""The metrics as TensorBoard scalars, and the error without TensorBoard."""

import sys

import pytest

from nelbo.errors import ConfigurationError
from nelbo.training import tensorboard_log


def test_missing_tensorboard_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigurationError, match=r"tensorboard needs .* by `pip install nelbo\[tensorboard\]`"):
        tensorboard_log(tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_each_list_entry_is_a_scalar(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = tensorboard_log(tmp_path / "log")
    log({"step": 2, "loss": 0.5, "loss_by_quarter": [1.0, None, 3.0, 4.0], "note": "no number"})
    log({"step": 4, "loss": 0.25})
    events = EventAccumulator(str(tmp_path / "log")).Reload()
    written = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert written == {
        "loss": [(2, 0.5), (4, 0.25)],
        "loss_by_quarter/1": [(2, 1.0)],
        "loss_by_quarter/3": [(2, 3.0)],
        "loss_by_quarter/4": [(2, 4.0)],
    }
