"""What is told of a model of points is told of one model."""

import math

import pytest

import nelbo
from nelbo.studies import report_points
from nelbo.studies.training import Listener, data_of


@pytest.mark.slow
def test_both_sides_of_the_gap_are_of_the_chain_that_drew_the_samples(tmp_path):
    """A lower bound of one model's KL and an upper bound of another's could contradict each other."""
    settings = {"network.width": 8, "schedule.num_steps": 10, "training.steps": 3, "training.batch_size": 8}
    run = nelbo.train("toy:eight-gaussians", tmp_path / "run", overrides=settings)
    report = report_points(run, num=50, moments=[0, 4], steps=4)
    held_out = data_of(run, Listener()).require_test()
    nats = 2 * math.log(2)
    few = run.bound(held_out, steps=4, clip=True, batch_size=512).total * nats
    assert report.gap.bound == pytest.approx(few)
    assert run.bound(held_out, batch_size=512).total * nats != pytest.approx(few)


@pytest.mark.slow
def test_the_preset_tells_eight_gaussians_from_a_ring(tmp_path):
    """A ring of the same radius and width is at a KL of about 0.45 nats, and passes for a low loss."""
    run = nelbo.train("toy:eight-gaussians", tmp_path / "run")
    gap = report_points(run, num=5000, moments=[0], steps=250).gap
    assert gap.samples.nats < 0.05
    assert gap.at_most < 0.05 + 4 * gap.bound_error
