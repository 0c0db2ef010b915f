"""Missing pixels are filled in from those around them."""

import torch

from nelbo.data import ArrayDataset, ConditionedDataset, Filled, filled


def test_observed_pixels_stay_and_missing_ones_are_means_of_those_around():
    levels = torch.tensor([[10, 0, 30], [0, 0, 0], [0, 0, 50]]).view(1, 1, 3, 3)
    observed = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 0, 1]]).bool().view(1, 1, 3, 3)
    found = filled(levels, observed)[0, 0]
    assert torch.equal(found[observed[0, 0]], levels[observed])
    assert found[0, 1] == 20 and found[1, 1] == 30 and found[1, 0] == 10
    assert found[2, 0] == (10 + 30 + 50) // 3


def test_what_is_missing_changes_nothing():
    observed = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)) > 0.5
    one, two = (torch.randint(256, (2, 3, 6, 6), generator=torch.Generator().manual_seed(i)) for i in (1, 2))
    assert torch.equal(filled(one.where(observed, 0), observed), filled(one.where(observed, two), observed))


def test_an_image_without_observed_pixels_ends():
    assert filled(torch.zeros(1, 1, 4, 4, dtype=torch.uint8), torch.zeros(1, 1, 4, 4).bool()).sum() == 0


def test_a_set_is_filled_as_it_is_read():
    images = ArrayDataset(torch.full((3, 1, 4, 4), 7, dtype=torch.uint8))
    observed = torch.ones(3, 1, 4, 4).bool()
    observed[:, :, 0] = False
    whole = Filled(ConditionedDataset(images, observed=observed))
    assert torch.equal(whole.images([0, 2]), images.images([0, 2]))
    assert torch.equal(whole.subset(torch.tensor([1])).images([0]), images.images([1]))
