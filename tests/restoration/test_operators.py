"""Linear damages and their pseudo-inverses, against the Moore-Penrose inverse."""

import pytest
import torch

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.restoration import LUMA, Average, Damage, Grey, Identity, Mask
from tests.restoration.oracle import matrix_of

KEPT = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 0], [1, 0, 0, 1]]).bool()
DAMAGES: dict[str, tuple[Damage, int]] = {
    "identity": (Identity(), 1),
    "mask": (Mask(KEPT), 1),
    "mask of colour": (Mask(KEPT.expand(3, 4, 4)), 3),
    "2 times smaller": (Average(2), 1),
    "4 times smaller": (Average(4), 3),
    "grey": (Grey(), 3),
    "luma": (Grey(LUMA), 3),
}
everything = pytest.mark.parametrize(("damage", "channels"), DAMAGES.values(), ids=DAMAGES)


@everything
def test_inverse_is_the_moore_penrose_inverse(damage: Damage, channels: int):
    a = matrix_of(damage, channels)
    y = torch.randn(len(a), generator=torch.Generator().manual_seed(0), dtype=torch.double)
    seen = damage(torch.zeros(1, channels, 4, 4, dtype=torch.double))
    inverse = damage.inverse(y.view_as(seen)).flatten()
    torch.testing.assert_close(inverse, torch.linalg.pinv(a) @ y)


@everything
def test_null_space_part_is_a_projection(damage: Damage, channels: int):
    x = torch.randn(3, channels, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    torch.testing.assert_close(damage(damage.inverse(damage(x))), damage(x))

    def rest(x):
        return x - damage.inverse(damage(x))

    torch.testing.assert_close(rest(rest(x)), rest(x))
    assert float(damage(rest(x)).abs().max()) < 1e-12


@everything
def test_gain_is_the_only_nonzero_singular_value(damage: Damage, channels: int):
    values = torch.linalg.svdvals(matrix_of(damage, channels))
    seen = values[values > 1e-9]
    torch.testing.assert_close(seen, torch.full_like(seen, damage.gain))


def test_mask_ignores_the_values_of_missing_pixels():
    image = torch.full((1, 1, 4, 4), torch.nan)
    image[:, :, KEPT] = 0.5
    assert torch.equal(Mask(KEPT)(image), 0.5 * KEPT.float().view(1, 1, 4, 4))


def test_small_examples_by_hand():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert Average(2)(x).tolist() == [[[[2.5, 4.5], [10.5, 12.5]]]]
    assert Average(2).inverse(torch.tensor([[[[1.0, 2.0]]]])).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]
    assert float(Grey(LUMA)(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))) == pytest.approx(0.299)
    assert Grey().inverse(torch.full((1, 1, 1, 1), 0.7)).flatten().tolist() == pytest.approx([0.7] * 3)


def test_wrong_masks_sizes_and_weights_are_refused():
    with pytest.raises(ShapeError, match=r"a mask must be bool, true where a pixel is known, got torch.uint8"):
        Mask(KEPT.to(torch.uint8))
    with pytest.raises(ConfigurationError, match="`size` must be a whole number of pixels, 1 or more, got 0"):
        Average(0)
    with pytest.raises(ShapeError, match="5 x 4 pixels cannot be divided into squares of 2 x 2"):
        Average(2)(torch.zeros(1, 1, 5, 4))
    with pytest.raises(ConfigurationError, match="must have the sum 1"):
        Grey((1.0, 1.0, 1.0))
    with pytest.raises(ShapeError, match="weights for 3 channels, but the images have 1"):
        Grey()(torch.zeros(1, 1, 4, 4))
