"""The three panels of a rate-distortion curve."""

import pytest

from nelbo.evaluation import RatePoint
from nelbo.plots import rate_distortion_curve


@pytest.mark.parametrize("num", [1, 3])
def test_few_steps_get_integer_ticks(num):
    points = [RatePoint(t=num - done, reverse_steps=done, rate=0.5 + done, rmse=90.0 - done) for done in range(num)]
    figure = rate_distortion_curve(points, 4.0)
    assert all(axes.lines[0].get_marker() == "o" for axes in figure.axes)
    assert all(axes.get_xticks().tolist() == list(range(num)) for axes in figure.axes[:2])
