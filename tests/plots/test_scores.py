import math

import numpy as np
import pytest

from nelbo.errors import DataError
from nelbo.plots import score_histogram


def test_every_score_is_counted():
    scores = [2.0, 2.5, 2.5, 3.0, 9.0]
    (axes,) = score_histogram(scores).axes
    assert sum(patch.get_height() for patch in axes.patches) == len(scores)
    assert [text.get_text() for text in axes.texts] == ["median 2.50"]


def test_the_highest_scores_get_ticks():
    scores = np.arange(1000.0)
    (axes,) = score_histogram(scores.tolist()).axes
    np.testing.assert_array_equal(axes.get_lines()[-1].get_xdata(), np.arange(990.0, 1000.0))


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [math.inf]])
def test_scores_without_histogram_are_refused(scores):
    with pytest.raises(DataError, match="not finite"):
        score_histogram(scores)
