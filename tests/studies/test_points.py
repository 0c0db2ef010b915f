"""The report of a model of points describes one model."""

import math

import pytest
import torch

import nelbo
from nelbo.studies import Listener, data_of, report_points
from nelbo.studies.points import PointsReport


@pytest.mark.slow
def test_gap_bounds_use_the_sampling_chain(tmp_path):
    """A lower bound for one chain and an upper bound for another could contradict each other."""
    settings = {"network.width": 8, "schedule.num_steps": 10, "training.steps": 3, "training.batch_size": 8}
    run = nelbo.train("toy:eight-gaussians", tmp_path / "run", overrides=settings)
    report = report_points(run, num=50, moments=[0, 4], steps=4)
    held_out = data_of(run, Listener()).require_test()
    nats = 2 * math.log(2)
    few = run.bound(held_out, steps=4, clip=True, batch_size=512).total * nats
    assert report.gap.bound == pytest.approx(few)
    assert run.bound(held_out, batch_size=512).total * nats != pytest.approx(few)


def test_report_is_a_table_of_points():
    cloud = torch.tensor([[0.5, -0.25]])
    report = PointsReport([4, 0], [cloud, 2 * cloud], [-cloud, cloud], [None, None], None)
    rows = report.to_pandas().to_dict("records")
    assert rows[1] == {"t": 0, "process": "forward", "x": 1.0, "y": -0.5} and len(rows) == 4
    assert "1 point each of q(x_t) and of the reverse process at t = 4, 0" in repr(report)


@pytest.mark.slow
def test_preset_resolves_eight_gaussians(tmp_path):
    """A ring of the same radius and width also has a low loss, but a KL of about 0.45 nats."""
    run = nelbo.train("toy:eight-gaussians", tmp_path / "run")
    gap = report_points(run, num=5000, moments=[0], steps=250).gap
    assert gap.samples.nats < 0.05
    assert gap.at_most < 0.05 + 4 * gap.bound_error
