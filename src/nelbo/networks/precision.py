"""A network in bfloat16, for sampling."""

import copy

import torch
from torch import Tensor, nn

from nelbo.condition import ConditionLike
from nelbo.networks.dit import DiT
from nelbo.networks.unet import UNet


class InBFloat16(nn.Module):
    """A copy of a `Network` that computes and stores its weights in bfloat16: for sampling, not for a bound.

    Autocast alone converts every weight again at every call. The parts of a U-Net and of a DiT that are
    float32 in training are float32 here too. An MLP always runs in float32.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        if isinstance(self.network, UNet | DiT):
            for part in self.network.inner():
                if isinstance(part, nn.Conv2d | nn.Linear):
                    part.bfloat16()

    def forward(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Return the output for x_t (B, C, ...), t (B,) and a condition or None, as any `Network`."""
        with torch.autocast(x_t.device.type, torch.bfloat16):
            return self.network(x_t, t, label)  # type: ignore[no-any-return]
