"""The bfloat16 copy for sampling: bfloat16 inside, float32 at both ends, and an unchanged original."""

import torch

from nelbo.networks import MLP, InBFloat16, UNet, UNetOptions
from tests.networks.conftest import randomise

OPTIONS = UNetOptions(channels=1, base=8, multipliers=(1, 2), blocks=1, attention=(1,), groups=4, num_classes=3)


def test_bfloat16_unet_output_is_close() -> None:
    network = UNet(OPTIONS).eval()
    randomise(network)
    x_t = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t, label = torch.tensor([1, 5, 50, 999]), torch.tensor([0, 1, 2, -1])
    expected, quick = network(x_t, t, label), InBFloat16(network)
    output = quick(x_t, t, label)
    assert output.dtype == torch.float32
    error = (output - expected).abs().max() / expected.std()
    assert 0 < error < 0.1
    assert all(p.dtype == torch.float32 for p in network.parameters())


def test_first_and_last_layers_stay_float32() -> None:
    inside = InBFloat16(UNet(OPTIONS)).network
    for part in (inside.input, inside.output, inside.condition):
        assert all(p.dtype == torch.float32 for p in part.parameters())
    assert inside.down[0][0].residual.conv1.weight.dtype == torch.bfloat16


def test_mlp_is_bitwise_equal() -> None:
    network = MLP()
    x_t, t = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([1, 2, 3])
    assert torch.equal(InBFloat16(network)(x_t, t), network(x_t, t))
