import math

import numpy as np
import pytest

from nelbo.errors import DataError
from nelbo.plots import per_step_bound
from nelbo.plots.bound import cumulative_share, steps_holding


def records(bits, **more):
    return [{"t": t, "bits_per_dim": b, **more} for t, b in enumerate(bits, start=1)]


def test_the_share_is_exact_for_all_steps():
    t, bits = np.arange(1.0, 6.0), np.array([5.0, 2.0, 2.0, 0.5, 0.5])
    np.testing.assert_allclose(cumulative_share(t, bits)[1], [0.5, 0.7, 0.9, 0.95, 1.0], rtol=1e-9)
    assert steps_holding(0.9, t, bits) == 3
    assert steps_holding(0.91, t, bits) == 4
    assert steps_holding(0.5, t, bits) == 1


def test_missing_steps_are_interpolated():
    full = np.arange(1.0, 1001.0)
    some = np.append(np.arange(1.0, 1000.0, 50), 1000.0)
    for power in (1.1, 0.5):
        exact, filled = steps_holding(0.9, full, full**-power), steps_holding(0.9, some, some**-power)
        assert abs(filled - exact) <= 1


def test_the_title_counts_the_steps():
    top, below = per_step_bound(records([5.0, 2.0, 2.0, 0.5, 0.5], standard_error=0.1)).axes
    assert below.get_title(loc="left") == "Steps 1 to 3 hold 90% of the bits"
    np.testing.assert_array_equal(top.get_lines()[0].get_ydata(), [5.0, 2.0, 2.0, 0.5, 0.5])


def test_a_step_of_zero_bits_is_not_drawn():
    top, below = per_step_bound(records([1.0, 0.0, 1.0])).axes
    np.testing.assert_array_equal(top.get_lines()[0].get_xdata(), [1, 3])
    np.testing.assert_allclose(below.get_lines()[0].get_ydata(), [50, 50, 100], atol=1e-6)


def test_the_order_of_the_records_does_not_matter():
    in_order = records([3.0, 2.0, 1.0])
    drawn = [per_step_bound(r).axes[0].get_lines()[0].get_xydata() for r in (in_order, in_order[::-1])]
    np.testing.assert_array_equal(*drawn)


def test_log_snr_ticks_are_at_their_steps():
    t = range(1, 101)
    snr = [{"t": i, "bits_per_dim": 1 / i, "log_snr": 10 - i / 5} for i in t]
    (above,) = per_step_bound(snr).axes[0].child_axes
    places = dict(zip([label.get_text() for label in above.get_xticklabels()], above.get_xticks(), strict=True))
    assert places["0"] == pytest.approx(50)
    assert places["8"] == pytest.approx(10)
    fractions = np.log(sorted(places.values())) / math.log(100)
    assert np.diff(fractions).min() > 0.05  # so that no two labels collide
    assert not per_step_bound([*snr[:50], {"t": 51, "bits_per_dim": 0.1}]).axes[0].child_axes


@pytest.mark.parametrize("bits", [[], [0.0, 0.0], [1.0, math.nan], [math.inf]])
def test_a_bound_of_nothing_is_refused(bits):
    with pytest.raises(DataError, match="no bound to draw"):
        per_step_bound(records(bits))
