"""The moving average, the window of losses and the metrics file on their own."""

import json
import math

import pytest
import torch
from torch import nn

from nelbo.errors import RunError
from nelbo.objective import NATS, Losses
from nelbo.training import MetricsLog
from nelbo.training.ema import averaged
from nelbo.training.metrics import LossWindow, round_to


def test_moving_average_follows_its_formula():
    """avg <- d avg + (1 - d) w with d = min(decay, (1 + n) / (10 + n)); the first update copies."""
    network, generator = nn.Linear(3, 2), torch.Generator().manual_seed(0)
    average, expected = averaged(network, 0.25), None
    for n in range(6):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=generator))
        average.update_parameters(network)
        decay = min(0.25, (1 + n) / (10 + n))
        expected = network.weight.clone() if n == 0 else decay * expected + (1 - decay) * network.weight
        torch.testing.assert_close(average.module.weight, expected)
    assert (1 + 2) / (10 + 2) == 0.25  # both arguments of the minimum occurred


def test_window_averages_then_clears():
    window = LossWindow()
    window.add(Losses(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0]), torch.tensor([0.0, 0.999])))
    window.add(Losses(torch.tensor([5.0]), torch.tensor([4.0]), torch.tensor([0.1])))
    assert window.averages() == {"loss": 3.0, "loss_by_quarter": [3.0, None, None, 6.0]}
    assert window.averages() == {"loss": 0.0}


def test_window_averages_terms_without_t():
    window, other = LossWindow(), LossWindow()
    window.add(Losses(torch.tensor([1.0, 3.0]), torch.zeros(2), None, {"kl": torch.tensor([2.0, 6.0])}))
    window.add(Losses(torch.tensor([5.0, 7.0]), torch.zeros(2), None, {"kl": torch.tensor([0.0, 4.0])}))
    other.load_state_dict(window.state_dict())
    assert window.averages() == other.averages() == {"loss": 4.0, "kl": 3.0}
    assert window.averages() == {"loss": 0.0}


@pytest.mark.parametrize(("unit", "scale", "shown"), [(NATS, 1 / math.log(2), "bits/dim"), ("squared error", 1, None)])
def test_window_reports_bits_for_nats(unit, scale, shown):
    window = LossWindow()
    window.add(Losses(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 6.0]), torch.zeros(2), {"kl": torch.ones(2)}, unit))
    found = window.averages()
    assert found["loss"] == pytest.approx(2 * scale, rel=1e-5)
    assert found["kl"] == pytest.approx(scale, rel=1e-5)
    assert found["loss_by_quarter"] == [pytest.approx(4 * scale, rel=1e-5), None, None, None]
    assert found["loss_unit"] == (shown or unit)


def test_window_state_is_restored():
    window, other = LossWindow(), LossWindow()
    window.add(Losses(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([0.3]), unit="squared error"))
    other.load_state_dict(window.state_dict())
    window.averages()  # clears this window, but not the copy
    assert other.averages() == {
        "loss": 1.0,
        "loss_by_quarter": [None, 2.0, None, None],
        "loss_unit": "squared error",
    }


def test_round_to_keeps_significant_digits():
    assert round_to(1234.5678, 3) == 1230.0
    assert round_to(0.000123456, 2) == 0.00012
    assert str(round_to(float("nan"), 3)) == "nan"


def test_log_drops_incomplete_lines(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.records() == []
    for step in range(1, 5):
        log.append({"step": step})
    with log.path.open("a") as file:
        file.write('{"step": 5')
    assert [record["step"] for record in log.records()] == [1, 2, 3, 4]
    log.cut_after(2)
    assert [json.loads(line) for line in log.path.read_text().splitlines()] == [{"step": 1}, {"step": 2}]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_unwritable_log_is_reported(tmp_path):
    with pytest.raises(RunError, match="could not be written"):
        MetricsLog(tmp_path / "nowhere" / "metrics.jsonl").append({"step": 1})
