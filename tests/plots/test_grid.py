import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.errors import ShapeError
from nelbo.plots import sample_grid, single_image
from nelbo.plots.grid import GAP, grid_scale


def tiles(picture, count, height, width, columns):
    """Cut the images out of a grid again, one pixel of each enlarged square."""
    pixels, scale = np.asarray(picture), grid_scale(height, width)
    for index in range(count):
        top = GAP + index // columns * (scale * height + GAP) + scale // 2
        left = GAP + index % columns * (scale * width + GAP) + scale // 2
        yield pixels[top : top + scale * height - scale // 2 : scale, left : left + scale * width - scale // 2 : scale]


@settings(deadline=None)
@given(
    count=st.integers(1, 12),
    channels=st.sampled_from([1, 3, 4]),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    columns=st.integers(1, 14),
    seed=st.integers(0, 2**31),
)
def test_every_pixel_is_in_its_place(count, channels, height, width, columns, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, channels, height, width), generator=generator, dtype=torch.uint8)
    picture = sample_grid(images, columns=columns)
    found = [
        tile.reshape(height, width, channels) for tile in tiles(picture, count, height, width, min(columns, count))
    ]
    np.testing.assert_array_equal(np.stack(found), images.permute(0, 2, 3, 1).numpy())


def test_levels_span_black_to_white():
    images = torch.arange(17, dtype=torch.uint8).reshape(17, 1, 1, 1)
    shown = [int(tile[0, 0]) for tile in tiles(sample_grid(images, levels=17), 17, 1, 1, 5)]
    assert shown == [round(255 * k / 16) for k in range(17)]


def test_a_grid_is_nearly_square():
    picture = sample_grid(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), levels=17)
    assert picture.size == (8 * 74 + 2, 8 * 74 + 2)
    assert grid_scale(8, 8) == 9
    assert grid_scale(256, 256) == 1


@pytest.mark.parametrize(
    ("images", "levels"),
    [
        (torch.zeros(4, 1, 8, 8), 256),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), 256),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), 256),
        (torch.full((1, 1, 8, 8), 17, dtype=torch.uint8), 17),
        (torch.zeros(1, 1, 8, 8, dtype=torch.uint8), 1),
    ],
)
def test_other_tensors_are_refused(images, levels):
    with pytest.raises(ShapeError, match="give"):
        sample_grid(images, levels)


def test_channels_that_are_no_colours_are_side_by_side():
    images = torch.stack([torch.full((1, 2, 3), 0), torch.full((1, 2, 3), 65_535)], 1).view(1, 2, 2, 3).int()
    pixels = np.asarray(single_image(images[0], 65_536))
    assert pixels.shape == (2, 6)
    assert pixels[:, :3].max() == 0 and pixels[:, 3:].min() == 255
    assert sample_grid(images, 65_536).mode == "L"


def test_zero_columns_are_refused():
    with pytest.raises(ShapeError, match="0 columns"):
        sample_grid(torch.zeros(1, 1, 2, 2, dtype=torch.uint8), columns=0)
