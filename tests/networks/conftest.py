"""Small networks with random weights everywhere, because freshly initialised branches are close to the zero map."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nelbo.networks import UNet, UNetOptions


def randomise(network: nn.Module, seed: int = 0, scale: float = 0.1) -> None:
    """Draw every weight from N(0, scale^2), and the gains of norms from N(1, scale^2)."""
    generator = torch.Generator().manual_seed(seed)
    gains = {id(m.weight) for m in network.modules() if isinstance(m, nn.GroupNorm | nn.LayerNorm)}
    with torch.no_grad():
        for parameter in network.parameters():
            drawn = scale * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + drawn if id(parameter) in gains else drawn)


@pytest.fixture
def small_unet() -> Callable[..., UNet]:
    """Build a small U-Net in evaluation mode; the arguments are fields of `UNetOptions`."""

    def build(**overrides: Any) -> UNet:
        fields: dict[str, Any] = {"base": 16, "multipliers": (1, 2), "blocks": 1, "groups": 8, "dropout": 0.0}
        network = UNet(UNetOptions(**(fields | overrides)))
        randomise(network)
        return network.eval()

    return build
