import math

import numpy as np
import pytest

from nelbo.errors import DataError
from nelbo.plots import bound_curve, loss_curve, save


def record(step, loss, **more):
    return {"step": step, "loss": loss, **more}


def line(axes, index=0):
    return [np.asarray(values, dtype=float) for values in axes.get_lines()[index].get_data()]


def test_the_raw_loss_skips_holes():
    records = [record(1, 4.0), {"step": 2, "held_out_bits_per_dim": 3.0}, record(3, math.nan), record(4, 1.0)]
    (axes,) = loss_curve(records).axes
    steps, losses = line(axes)
    np.testing.assert_array_equal(steps, [1, 4])
    np.testing.assert_array_equal(losses, [4.0, 1.0])


def test_the_moving_average_reduces_noise():
    rng = np.random.default_rng(0)
    (axes,) = loss_curve([record(i, 1 + 0.1 * rng.standard_normal()) for i in range(400)]).axes
    _, raw = line(axes, 0)
    _, smooth = line(axes, 1)
    assert len(smooth) == len(raw)
    assert smooth[20:].std() < 0.4 * raw.std()
    (flat,) = loss_curve([record(i, 2.5) for i in range(100)]).axes
    np.testing.assert_allclose(line(flat, 1)[1], 2.5, rtol=1e-12)


def test_quarters_of_t_get_a_panel():
    records = [record(i, 1.0, loss_by_quarter=[4.0, 3.0, None if i % 2 else 2.0, math.nan]) for i in range(6)]
    whole, quarters = loss_curve(records).axes
    assert len(whole.get_lines()) == 2
    assert [len(line(quarters, q)[0]) for q in range(4)] == [6, 6, 3, 0]
    np.testing.assert_allclose(line(quarters, 2)[1], 2.0)


def test_loss_axes_name_the_unit():
    records = [record(i, 1.0, loss_unit="bits/dim", loss_by_quarter=[1.0] * 4) for i in range(3)]
    assert [axes.get_ylabel() for axes in loss_curve([*records, {"step": 3}]).axes] == ["loss, bits/dim"] * 2
    assert loss_curve([record(1, 1.0)]).axes[0].get_ylabel() == "loss"


@pytest.mark.parametrize(("losses", "scale"), [([1.0, 0.1], "log"), ([1.0, -0.1], "linear"), ([1.0, 0.0], "linear")])
def test_only_positive_losses_get_a_log_axis(losses, scale):
    (axes,) = loss_curve([record(i, loss) for i, loss in enumerate(losses)]).axes
    assert axes.get_yscale() == scale


@pytest.mark.parametrize("against", ["step", "minutes"])
def test_the_lowest_bound_is_marked(against, tmp_path):
    bits = [4.0, 2.5, 2.125, 2.25]
    records = [
        {"step": 10 * i, "minutes": i / 2, "held_out_bits_per_dim": b, "held_out_standard_error": 0.01}
        for i, b in enumerate(bits)
    ]
    figure = bound_curve([record(5, 1.0), *records], against=against)
    (axes,) = figure.axes
    x, y = line(axes)
    np.testing.assert_array_equal(x, [r[against] for r in records])
    np.testing.assert_array_equal(y, bits)
    assert axes.get_xlabel() == against
    assert [text.get_text() for text in axes.texts] == ["lowest 2.125"]
    assert save(figure, tmp_path / "bound.png").stat().st_size > 1000


def dots(axes):
    return [each.get_markersize() > 2 and each.get_marker() == "o" for each in axes.get_lines()]


def test_curves_of_few_points_have_dots():
    few, many = ([record(i, 1.0, loss_by_quarter=[1.0] * 4) for i in range(num)] for num in (1, 200))
    assert [dots(axes) for axes in loss_curve(few).axes] == [[True] * 2, [True] * 4]
    assert [dots(axes) for axes in loss_curve(many).axes] == [[False] * 2, [False] * 4]


@pytest.mark.parametrize("error", [0.0, 0.2, math.nan])
@pytest.mark.parametrize("bits", [[2.764, 2.673], [9.0, 4, 3, 2.7, 2.69, 2.71], [2.69, 2.67, 2.7, 4, 9], [3.0]])
def test_the_label_of_the_lowest_bound_covers_no_curve_and_stays_inside(bits, error):
    records = [{"step": i, "held_out_bits_per_dim": b, "held_out_standard_error": error} for i, b in enumerate(bits)]
    figure = bound_curve(records)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    (label,) = axes.texts
    place = label.get_window_extent()
    assert all(not each.get_path().transformed(axes.transData).intersects_bbox(place, False) for each in axes.lines)
    inside = axes.get_window_extent()
    assert inside.x0 <= place.x0 and place.x1 <= inside.x1 and inside.y0 <= place.y0


@pytest.mark.parametrize("draw", [loss_curve, bound_curve])
def test_records_without_values_are_refused(draw):
    with pytest.raises(DataError, match="nothing to draw"):
        draw([{"step": 1}])


def test_bound_curve_of_a_run_whose_decoder_comes_last_shows_the_chain():
    records = [{"step": i, "held_out_chain_bits_per_dim": 1 / (i + 1)} for i in range(3)]
    axes = bound_curve([*records, {"step": 2, "held_out_bits_per_dim": 2.8, "held_out_standard_error": 0.1}]).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [1, 1 / 2, 1 / 3]
    assert axes.get_title(loc="left").endswith(", without L_0") or axes.get_title().endswith(", without L_0")
