import numpy as np
import pytest
import torch

from nelbo.errors import ShapeError
from nelbo.plots import restoration_strip, save
from nelbo.restoration import Restoration


def restoration(num: int, channels: int = 1) -> Restoration:
    generator = torch.Generator().manual_seed(0)
    return Restoration.of(torch.randint(0, 256, (num, channels, 5, 7), generator=generator, dtype=torch.uint8))


def test_every_image_is_in_its_place():
    found, damaged = restoration(3), torch.linspace(-1, 1, 35).view(1, 5, 7)
    axes = restoration_strip(damaged, found).axes
    assert [a.get_title() for a in axes[:6]] == ["damaged", "3 draws", "", "", "mean", "spread"]
    shown = [np.asarray(a.images[0].get_array()) for a in axes[:6]]
    np.testing.assert_allclose(shown[0], (damaged[0].numpy() + 1) / 2, atol=1e-6)
    for image, draw in zip(shown[1:4], found.draws, strict=True):
        np.testing.assert_allclose(image, draw[0].numpy() / 255, atol=1e-6)
    np.testing.assert_allclose(shown[4], found.mean[0].numpy() / 255, atol=1e-6)
    np.testing.assert_allclose(shown[5], found.spread[0].numpy())
    assert axes[5].images[0].get_clim()[0] == 0 and axes[6].get_ylabel() == "levels"


def test_missing_pixels_are_pink():
    damaged = torch.zeros(1, 5, 7)
    damaged[0, 2, 3] = torch.nan
    image = np.asarray(restoration_strip(damaged, restoration(2)).axes[0].images[0].get_array())
    assert image.shape == (5, 7, 3)
    np.testing.assert_allclose(image[2, 3], (0.8, 0.475, 0.65), atol=1e-6)
    np.testing.assert_allclose(image[0, 0], 0.5, atol=1e-6)


def test_many_draws_in_colour(tmp_path):
    figure = restoration_strip(torch.zeros(1, 3, 4), restoration(11, channels=3))
    assert len(figure.axes) == 1 + 8 + 2 + 1
    assert figure.axes[1].get_title() == "of 11 draws"
    assert restoration_strip(torch.zeros(3, 5, 7), restoration(1)).axes[1].get_title() == "a draw"
    assert save(figure, tmp_path / "strip.png").is_file()


def test_two_channels_are_refused():
    with pytest.raises(ShapeError, match="images of 2 channels cannot be drawn"):
        restoration_strip(torch.zeros(2, 5, 7), restoration(2, channels=2))
