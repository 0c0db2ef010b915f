"""The curve of previews beside other formats."""

import pytest

from nelbo.errors import DataError
from nelbo.plots import codec_curves


def test_the_curve_ends_where_every_pixel_is_exact():
    figure = codec_curves([(30, 20.0), (90, 8.0)], 300, {"WEBP": [(120, 14.0), (200, 6.0)]})
    ours, other = figure.axes[0].lines[:2]
    assert list(ours.get_xdata()) == [30, 90, 300] and list(ours.get_ydata()) == [20, 8, 0]
    assert list(other.get_xdata()) == [120, 200]


def test_lossless_sizes_of_others_are_marked():
    figure = codec_curves([(30, 20.0)], 300, {"WEBP": [(120, 14.0), (200, 6.0)]}, {"WEBP": 400.0, "PNG": 450.0})
    marks = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [tuple(line.get_xydata()[0]) for line in marks] == [(400, 0), (450, 0)]
    curve = next(line for line in figure.axes[0].lines if line.get_label() == "WEBP")
    assert marks[0].get_color() == curve.get_color() and marks[1].get_label() == "PNG, exact"


def test_no_preview_is_refused():
    with pytest.raises(DataError, match="no preview"):
        codec_curves([], 300, {})
