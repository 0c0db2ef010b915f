"""A level is its coarse level and its digits."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nelbo.data import ArrayDataset
from nelbo.errors import ConfigurationError
from nelbo.refinement import LevelSplit, coarse

LEVELS = st.integers(257, 65_536)


@given(LEVELS, st.data())
def test_coarse_level_and_digits_give_the_level_back(levels, data):
    split = LevelSplit(levels)
    x = torch.tensor(data.draw(st.lists(st.integers(0, levels - 1), min_size=1, max_size=20)), dtype=torch.int32)
    built = split.coarse(x)
    for stage, bits in enumerate(split.digits):
        digit = split.digit(x, stage)
        assert int(digit.min()) >= 0 and int(digit.max()) < 1 << bits <= split.base
        built = built << bits | digit
    assert torch.equal(built, x)


@given(LEVELS)
def test_coarse_levels_have_8_bits_and_digits_at_most_4(levels):
    split = LevelSplit(levels)
    assert 129 <= split.coarse_levels <= 256
    assert split.coarse(torch.tensor(levels - 1)) == split.coarse_levels - 1
    assert max(split.digits) <= 4 and sum(split.digits) == split.bits


@pytest.mark.parametrize(("levels", "digits"), [(65_536, (4, 4)), (4096, (4,)), (257, (1,)), (8192, (3, 2))])
def test_digits_of_usual_depths(levels, digits):
    assert LevelSplit(levels).digits == digits


@given(LEVELS, st.data())
def test_middle_is_that_of_the_interval(levels, data):
    split = LevelSplit(levels)
    x = data.draw(st.integers(0, levels - 1))
    for stage in range(len(split.digits) + 1):
        width = 1 << split.shift(stage)
        inside = range(x // width * width, x // width * width + width)
        assert int(split.middle(torch.tensor(x), stage)) == inside[0] + inside[-1]


@pytest.mark.parametrize("levels", [256, 65_537])
def test_other_numbers_of_levels_are_refused(levels):
    with pytest.raises(ConfigurationError, match="levels are not split; expected 257 to 65,536"):
        LevelSplit(levels)


def test_coarse_images_are_uint8():
    fine = ArrayDataset(torch.tensor([0, 15, 16, 4095], dtype=torch.int32).view(2, 1, 1, 2), 4096)
    assert coarse(fine).levels == 256
    assert coarse(fine).images([0, 1]).flatten().tolist() == [0, 0, 1, 255]
    assert coarse(fine).images([0]).dtype == torch.uint8
    assert coarse(coarse(fine)).levels == 256
