"""A masking model with a small random network."""

import torch
from torch import Tensor

from nelbo.masking import MaskingModel
from nelbo.masking.context import num_inputs
from nelbo.masking.order import WINDOW, num_steps
from nelbo.networks.context_network import ContextNetwork, ContextOptions


def tiny_model(channels: int = 3, seed: int = 0) -> MaskingModel:
    """Return a model whose every output depends on its input."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = ContextNetwork(ContextOptions(num_inputs(channels), num_steps(channels), hidden=8, blocks=1))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    linear = torch.randint(-400, 400, (num_steps(channels), channels * WINDOW**2), generator=generator)
    return MaskingModel(linear, network.exact())


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    """Return a picture (C, H, W) uint8 of a slope with noise."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.linspace(0, 200, height)[:, None] + torch.linspace(0, 30, width)
    noise = 4 * torch.randn(channels, height, width, generator=generator)
    return (slope + noise + 20 * torch.arange(channels)[:, None, None]).clamp(0, 255).to(torch.uint8)
