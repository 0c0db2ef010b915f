"""Bits/dim of images without a model."""

import io
import math

import pytest
import torch
from PIL import Image

from nelbo.data import ArrayDataset, load_data
from nelbo.evaluation import Baselines, baselines_of


def test_histogram_of_the_digits_is_the_known_one():
    """2.36 bits/dim of the last 297 digits, by a histogram of each pixel with half a pseudo-count."""
    split = load_data("digits")
    found = baselines_of(split.require_test(), split.train)
    assert found.raw == math.log2(17)
    assert found.histogram == pytest.approx(2.36, abs=0.005)


def test_constant_pixels_cost_what_the_pseudo_counts_leave():
    """99 training images of one level: (99 + 1/2) / (99 + 2) of the mass with two levels."""
    train, test = (ArrayDataset(torch.ones(n, 1, 2, 2, dtype=torch.uint8), name="x", levels=2) for n in (99, 5))
    assert baselines_of(test, train).histogram == pytest.approx(-math.log2(99.5 / 100))


def test_png_is_the_size_of_the_files():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (3, 3, 8, 8), generator=generator, dtype=torch.uint8)
    found, sizes = baselines_of(ArrayDataset(pixels, name="x")), []
    for image in pixels:
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer := io.BytesIO(), format="PNG", optimize=True)
        sizes.append(len(buffer.getvalue()))
    assert found.png == 8 * sum(sizes) / pixels.numel()
    assert found.histogram is None and found.raw == 8


def test_vectors_have_no_files():
    points = ArrayDataset(torch.zeros(4, 2, 1, 1, dtype=torch.uint8), name="x")
    assert baselines_of(points) == Baselines(8.0)
    assert str(Baselines(8.0, 4.5)) == "raw 8.00, a histogram of each pixel 4.50"
