"""Formats of 8 bits are no baseline of images of more levels."""

import torch

from nelbo.data import ArrayDataset
from nelbo.evaluation import baselines_of


def test_images_of_more_than_256_levels_have_no_files_of_8_bits():
    images = ArrayDataset(torch.randint(1000, (6, 1, 8, 8), dtype=torch.int32), 1000)
    found = baselines_of(images, images)
    assert found.histogram is None and found.png is None and found.webp is None
