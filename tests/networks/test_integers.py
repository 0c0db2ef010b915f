"""Integer convolutions: exact in float32 in any order, and refused where that cannot be proven."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from nelbo.errors import ConfigurationError
from nelbo.networks.integers import EXACT, IntegerConv, RoundedConv

LIMIT = 1023


def reference(layer: IntegerConv, x: torch.Tensor, step: int = 0) -> torch.Tensor:
    """Convolve in int64, where nothing is rounded."""
    side = layer.weight.shape[2]
    padding = side // 2 if layer.stride == 1 else 0
    padded = F.pad(x.long(), (padding,) * 4)
    cut = padded.unfold(2, side, layer.stride).unfold(3, side, layer.stride)
    sums = torch.einsum("bihwkl,oikl->bohw", cut, layer.weight.long())
    sums = sums + layer.bias.long()[min(step, len(layer.bias) - 1)][:, None, None]
    shift = layer.shift.long()[:, None, None]
    return (2 * sums + (1 << shift)) >> (shift + 1)


def layer_of(
    seed: int, shape: tuple[int, int, int], stride: int = 1, steps: int = 1, scale: float = 1.0
) -> IntegerConv:
    """Return a layer with random weights."""
    torch.manual_seed(seed)
    layer = RoundedConv(shape, LIMIT, steps, stride)
    with torch.no_grad():
        layer.weight.mul_(scale)
        layer.bias.normal_(0, scale)
    return layer.exact()


@pytest.mark.parametrize(("shape", "stride"), [((7, 5, 3), 1), ((6, 4, 2), 2), ((9, 8, 1), 1)])
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_convolution_equals_int64(shape, stride, scale):
    layer = layer_of(0, shape, stride, steps=3, scale=scale)
    x = torch.randint(-LIMIT, LIMIT + 1, (3, shape[1], 6, 8)).float()
    for step in range(3):
        torch.testing.assert_close(layer(x, step).long(), reference(layer, x, step), rtol=0, atol=0)


def test_batches_and_layouts_give_the_same_integers():
    layer = layer_of(1, (16, 12, 3))
    x = torch.randint(0, LIMIT + 1, (64, 12, 7, 7)).float()
    together = layer(x)
    assert torch.equal(torch.cat([layer(each) for each in x.split(1)]), together)
    assert torch.equal(layer(x.to(memory_format=torch.channels_last)), together)
    order = torch.randperm(12)
    turned = IntegerConv(layer.weight[:, order], layer.bias, layer.shift, LIMIT)
    assert torch.equal(turned(x[:, order]), together)  # another order of the sums


@pytest.mark.parametrize("side", [1, 3])
def test_features_may_come_last(side):
    layer = layer_of(2, (10, 6, side))
    x = torch.randint(-LIMIT, LIMIT + 1, (2, 6, 4, 5)).float()
    assert torch.equal(layer.pixels(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), layer(x))


def edge(beyond: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a filter whose largest sum is 2^24 - 1 + beyond."""
    weights = torch.full((1, 128, 1, 1), 127.0)  # 127 * 128 * 1023 = 16,629,888
    shift = torch.tensor([1.0])
    bias = torch.tensor([[EXACT - 1 + beyond - 127.0 * 128 * LIMIT - 1]])
    return weights, bias, shift


def test_filter_at_the_edge_is_exact():
    layer = IntegerConv(*edge(0), LIMIT)
    assert int(layer.largest_sums()[0]) == EXACT - 1
    x = torch.full((1, 128, 1, 1), float(LIMIT))
    for inputs in (x, x - (torch.arange(128) % 7 == 0).view(1, -1, 1, 1).float()):
        assert torch.equal(layer(inputs).long(), reference(layer, inputs))


def test_filter_one_beyond_the_edge_is_refused():
    with pytest.raises(ConfigurationError, match=r"16,777,216 is not exact in float32"):
        IntegerConv(*edge(1), LIMIT)


def test_weight_of_more_than_8_bits_is_refused():
    with pytest.raises(ConfigurationError, match="a weight of 128 has more than 8 bits"):
        IntegerConv(torch.full((1, 1, 1, 1), -128.0), torch.zeros(1, 1), torch.ones(1), LIMIT)


@given(st.integers(0, 10**6), st.floats(-12, 6), st.sampled_from([1, 3]))
def test_every_trained_layer_stays_exact(seed, exponent, side):
    layer = layer_of(seed, (4, 96, side), scale=2.0**exponent)
    assert int(layer.largest_sums().max()) < EXACT
    assert layer.weight.abs().max() <= 127


def test_training_uses_the_weights_that_code():
    torch.manual_seed(3)
    layer = RoundedConv((5, 4, 3), LIMIT)
    with torch.no_grad():
        layer.bias.normal_()
    x = torch.randint(0, LIMIT + 1, (2, 4, 6, 6)).float()
    trained = layer(x, torch.zeros(2, dtype=torch.int64))
    assert (trained - layer.exact()(x)).abs().max() < 0.75  # rounding of the result, and of the bias
    trained.sum().backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().min() > 0
