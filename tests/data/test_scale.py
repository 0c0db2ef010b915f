"""Measured values become levels and come back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nelbo
from nelbo.data import DataWarning, LevelScale
from nelbo.errors import ConfigurationError, DataError


@given(st.integers(-1000, 1000), st.sampled_from([1, 2, 0.5, 0.01, 1e-6]), st.integers(2, 65_536), st.data())
def test_levels_come_back_from_their_values(first, quantum, levels, data):
    scale = LevelScale(first * quantum, quantum, levels, "float64")
    x = torch.tensor(data.draw(st.lists(st.integers(0, levels - 1), min_size=1, max_size=20)))
    back = scale.to_levels(scale.to_values(x), "x")
    assert torch.equal(back.long(), x)
    assert back.dtype == (torch.uint8 if levels <= 256 else torch.int32)


@pytest.mark.parametrize(
    ("values", "range", "quantum", "low", "high", "levels"),
    [
        (np.array([0, 65535], np.uint16), "auto", 1, 0, 65535, 65536),
        (np.array([320, 4160], np.uint16), "auto", 1, 200, 4280, 4081),  # a margin of 1/32 of 3,840 on both sides
        (np.array([0, 320], np.uint16), "auto", 1, 0, 330, 331),  # no value is below that of the type
        (np.array([0, 10], np.uint8), "full", 1, 0, 255, 256),
        (np.array([-5, 5], np.int16), (-10, 10), 5, -10, 10, 5),
        (np.array([0.0, 1.0], np.float32), (0, 1), 0.1, 0, 1, 11),
        (np.array([0.0, np.nan, 0.64]), "auto", 0.01, -0.02, 0.66, 69),
    ],
)
def test_range_of_values_that_are_found_or_given(values, range, quantum, low, high, levels):
    scale = LevelScale.of([values], range, quantum)
    assert (scale.low, scale.high, scale.levels) == (pytest.approx(low), pytest.approx(high), levels)


def test_too_many_levels_are_refused_with_a_quantum_that_fits():
    with pytest.raises(ConfigurationError, match=r"makes 1,000,001 levels .*choose a quantum of 1\.6e-05 or more"):
        LevelScale(0, 1e-6, 1_000_001, "float32")
    assert LevelScale.of([np.array([0.0, 1.0])], (0, 1), 1.6e-5).levels == 62_501


@pytest.mark.parametrize("quantum", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_other_quanta_are_refused(quantum):
    with pytest.raises(ConfigurationError, match=r"quantum is .*expected the difference between"):
        LevelScale(0, quantum, 256, "uint16")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.array([5])], "values from 5 to 5, but the levels stand for 0 to 4"),
        ([np.array([-1])], "values from -1 to -1"),
        ([np.array([1.0, np.inf])], "has 1 value that is infinite"),
    ],
)
def test_values_without_a_level_are_refused(values, message):
    with pytest.raises(DataError, match=message):
        LevelScale(0, 1, 5, "int64").to_levels(values[0], "x.npy")


def test_types_that_differ_or_are_no_numbers_are_refused():
    with pytest.raises(DataError, match="the types float32, uint16; expected one type"):
        LevelScale.of([np.zeros(2, np.uint16), np.zeros(2, np.float32)], "auto", 1)
    with pytest.raises(DataError, match="the type bool"):
        LevelScale.of([np.zeros(2, bool)], "auto", 1)
    with pytest.raises(DataError, match="no value of the images is finite"):
        LevelScale.of([np.full(2, np.nan)], "auto", 1)
    with pytest.raises(ConfigurationError, match="has no meaning for float32 values"):
        LevelScale.of([np.zeros(2, np.float32)], "full", 1)


def test_rounded_values_are_reported(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(0, 4 * 16, 0.5).reshape(8, 4, 4))
    with pytest.warns(DataWarning, match="8 images have values between the levels, which are 1 apart"):
        nelbo.load_data(tmp_path / "x.npy", quantum=1)


def test_a_size_or_mode_beside_a_quantum_is_refused():
    for name, value in (("size", 8), ("mode", "L")):
        with pytest.raises(ConfigurationError, match=f"quantum keeps values .* and {name} would change them"):
            nelbo.load_data(np.zeros((4, 8, 8), np.uint16), quantum=1, **{name: value})


def test_nan_is_a_missing_pixel_and_comes_back():
    values = np.array([[1.0, np.nan, 3.0]], np.float32)
    scale, observed = LevelScale(1, 0.5, 5, "float32"), torch.tensor([[True, False, True]])
    levels = scale.to_levels(values, "x")
    assert levels.tolist() == [[0, 0, 4]]
    np.testing.assert_array_equal(scale.to_values(levels, observed), values)
    with pytest.raises(DataError, match="uint16 has no value for missing pixels"):
        LevelScale(0, 1, 5, "uint16").to_values(levels, observed)


@pytest.mark.filterwarnings("ignore::nelbo.data.folders.DataWarning")
def test_nan_in_an_array_becomes_a_mask():
    values = np.random.default_rng(0).random((20, 2, 4, 4))
    values[3, 1, 2] = np.nan
    split = nelbo.load_data(values, quantum=0.001, held_out=4)
    seen = torch.cat([part.observed(range(len(part))) for part in (split.train, split.test)])
    assert int((~seen).sum()) == 4
    with pytest.raises(DataError, match=r"has NaN, which are missing pixels; leave out mask"):
        nelbo.load_data(values, quantum=0.001, mask=np.zeros((4, 4), bool))


@pytest.mark.parametrize(("dtype", "quantum"), [("uint16", 4), ("uint8", 2), ("int8", 3), ("int16", 10)])
def test_values_at_the_ends_of_a_type_do_not_wrap(dtype, quantum):
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max], dtype)
    scale = LevelScale.of([values], "full", quantum)
    back = scale.to_values(scale.to_levels(values, "x"))
    assert np.abs(back.astype(int) - values.astype(int)).max() <= quantum


@pytest.mark.parametrize(
    ("values", "quantum"),
    [
        (np.array([2**53, 2**53 + 1, 2**53 + 3]), 1),
        (np.array([2**60, 2**60 + 1], np.uint64), 1),
        (np.array([-1e308, 1e308]), 1e300),
        (np.array([0.0, 1.0]), 1e-310),
    ],
)
def test_values_whose_quanta_float64_cannot_count_are_refused(values, quantum):
    with pytest.raises(ConfigurationError, match=r"too far from 0 for a quantum|makes .* levels"):
        LevelScale.of([values], "auto", quantum)


@pytest.mark.parametrize("placeholder", [0, 2010, 65_535])
def test_values_at_missing_pixels_change_nothing(placeholder):
    values = np.random.default_rng(0).integers(2000, 2400, (20, 1, 4, 4)).astype(np.uint16)
    hole = np.zeros((20, 4, 4), bool)
    hole[:, 1, 2] = True
    split = nelbo.load_data(np.where(hole[:, None], placeholder, values).astype(np.uint16), quantum=1, mask=hole)
    seen = values[np.broadcast_to(~hole[:, None], values.shape)]
    assert split.level_scale == LevelScale.of([seen], "auto", 1)
    assert int(split.train.images(range(len(split.train)))[:, 0, 1, 2].max()) == 0
