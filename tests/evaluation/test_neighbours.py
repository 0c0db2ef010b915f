"""Nearest neighbours against a direct computation of the distances."""

import pytest
import torch

from nelbo.data import ArrayDataset
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.evaluation import nearest_neighbours


def drawn(num: int, levels: int = 256, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, levels, (num, 3, 4, 5), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("levels", [256, 17])
@pytest.mark.parametrize("batch_size", [1, 7, 2048])
def test_neighbours_have_the_smallest_distances(levels: int, batch_size: int):
    images, others = drawn(6, levels, seed=1), drawn(40, levels)
    found = nearest_neighbours(images, ArrayDataset(others, levels), 5, batch_size=batch_size)
    grey = 255 / (levels - 1)
    rmse = ((images[:, None].double() - others.double()) * grey).square().flatten(2).mean(2).sqrt()
    expected, order = rmse.sort(stable=True)
    assert found.distances.dtype == torch.float64
    torch.testing.assert_close(found.distances, expected[:, :5], rtol=1e-5, atol=0)
    assert torch.equal(found.indices, order[:, :5])


def test_image_of_the_set_has_distance_zero():
    others = drawn(30)
    found = nearest_neighbours(others[[4, 29]], ArrayDataset(others), 2)
    assert found.indices[:, 0].tolist() == [4, 29]
    assert found.distances[:, 0].tolist() == [0, 0] and float(found.distances[:, 1].min()) > 10


@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_equal_images_keep_their_order(batch_size: int):
    others = drawn(2).repeat(5, 1, 1, 1)
    found = nearest_neighbours(others[:1], ArrayDataset(others), 7, batch_size=batch_size)
    assert found.indices.tolist() == [[0, 2, 4, 6, 8, 1, 3]]


def test_progress_counts_the_set():
    calls = []
    nearest_neighbours(drawn(1), ArrayDataset(drawn(10)), 1, batch_size=4, progress=lambda *call: calls.append(call))
    assert calls == [(4, 10), (8, 10), (10, 10)]


def test_invalid_input_is_refused():
    dataset = ArrayDataset(drawn(10))
    with pytest.raises(ShapeError, match=r"the images are \(3, 4, 4\)"):
        nearest_neighbours(drawn(2)[..., :4], dataset)
    for k in (0, 11):
        with pytest.raises(ConfigurationError, match=rf"neighbours must be within 1..10, got {k}"):
            nearest_neighbours(drawn(2), dataset, k)
