"""Pictures of samplers: the same seeds with few and many calls, and quality against calls."""

import pytest
import torch

from nelbo.errors import DataError
from nelbo.plots import curves_against_calls, samplers_table


def test_rows_are_seeds_and_columns_calls():
    images = {"ddim": torch.zeros(2, 3, 1, 8, 8), "heun": torch.ones(2, 3, 1, 8, 8)}
    figure = samplers_table(images, (1, 10, 20))
    assert len(figure.axes) == 12
    assert [axes.get_title() for axes in figure.axes[:3]] == ["1 call", "10 calls", "20 calls"]
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["ddim", "", "heun", ""]
    assert float(figure.axes[0].images[0].get_array().max()) == 0.5
    assert float(figure.axes[6].images[0].get_array().max()) == 1.0


def test_curves_against_calls_show_the_interval():
    figure = curves_against_calls({"ddim": [(20, 5.0, 4.0, 7.0), (5, 9.0, 8.0, 10.0)], "heun": [(19, 3.0, 2.0, 4.0)]})
    (axes,) = figure.axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_lines()[0].get_xdata().tolist() == [5, 20]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["ddim", "heun"]
    with pytest.raises(DataError, match="no points"):
        curves_against_calls({"ddim": []})
