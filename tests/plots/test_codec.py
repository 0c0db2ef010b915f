"""Previews of a file beside other formats."""

import pytest

from nelbo.errors import DataError
from nelbo.plots import codec_curves


def test_the_curve_ends_where_every_pixel_is_exact():
    figure = codec_curves([(30, 20.0), (90, 8.0)], 300, {"WEBP": [(120, 14.0), (200, 6.0)]})
    ours, other = figure.axes[0].lines[:2]
    assert list(ours.get_xdata()) == [30, 90, 300] and list(ours.get_ydata()) == [20, 8, 0]
    assert list(other.get_xdata()) == [120, 200]


def test_nothing_to_draw_is_said():
    with pytest.raises(DataError, match="no preview"):
        codec_curves([], 300, {})
