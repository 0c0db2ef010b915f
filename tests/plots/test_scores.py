import math

import numpy as np
import pytest

from nelbo.errors import DataError
from nelbo.plots import score_histogram


def test_every_score_is_counted_once_and_the_median_named():
    scores = [2.0, 2.5, 2.5, 3.0, 9.0]
    (axes,) = score_histogram(scores).axes
    assert sum(patch.get_height() for patch in axes.patches) == len(scores)
    assert [text.get_text() for text in axes.texts] == ["median 2.50"]


def test_the_most_surprising_images_are_ticked():
    scores = np.arange(1000.0)
    (axes,) = score_histogram(scores.tolist()).axes
    np.testing.assert_array_equal(axes.get_lines()[-1].get_xdata(), np.arange(990.0, 1000.0))


@pytest.mark.parametrize("scores", [[], [1.0, math.nan], [math.inf]])
def test_what_has_no_histogram_is_refused(scores):
    with pytest.raises(DataError, match="not finite"):
        score_histogram(scores)
