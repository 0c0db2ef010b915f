"""The U-Net and diffusers' `UNet2DModel` have the same output for the same weights."""

import pytest
import torch
from torch import nn

from nelbo.interop.weights import from_diffusers
from nelbo.networks import UNet, UNetOptions

diffusers = pytest.importorskip("diffusers", reason="diffusers (the extra `test`) is the independent implementation")


def pair(heads: int = 1) -> tuple[nn.Module, UNet]:
    """Build the configuration of google/ddpm-cifar10-32 at a quarter of its width, twice with the same weights."""
    theirs = diffusers.UNet2DModel(
        sample_size=32,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=2,
        attention_head_dim=None if heads == 1 else 64 // heads,
        norm_eps=1e-6,
        act_fn="silu",
        flip_sin_to_cos=False,
        freq_shift=1,
        downsample_padding=0,
    ).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    ours = UNet(UNetOptions(base=32, heads=heads)).eval()
    ours.load_state_dict(from_diffusers(ours, theirs.state_dict()))
    return theirs, ours


@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("shape", [(2, 3, 32, 32), (1, 3, 16, 24)])
def test_same_weights_same_output(heads: int, shape: tuple[int, ...]) -> None:
    theirs, ours = pair(heads)
    generator = torch.Generator().manual_seed(1)
    for t in (0, 1, 517, 999):
        x_t = torch.randn(shape, generator=generator)
        with torch.no_grad():
            expected, given = theirs(x_t, t).sample, ours(x_t, torch.full(shape[:1], t))
        assert expected.abs().mean() > 0.05  # for smaller outputs, an error of 1e-5 would prove little
        assert (given - expected).abs().max() <= 1e-5 * max(1, expected.abs().max().item())


def test_same_weights_same_gradient() -> None:
    theirs, ours = pair()
    x_t, t = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)), torch.tensor([3, 800])
    theirs(x_t, t).sample.square().mean().backward()
    ours(x_t, t).square().mean().backward()
    expected = from_diffusers(ours, {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        scale = expected[name].abs().max().item()
        assert (parameter.grad - expected[name]).abs().max() <= 1e-4 * scale + 1e-7, name


def test_paper_network_has_same_parameter_count() -> None:
    from benchmarks.unet_step import theirs

    with torch.device("meta"):
        assert sum(p.numel() for p in theirs().parameters()) == 35_746_307
