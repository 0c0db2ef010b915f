"""A network in bfloat16, for looking rather than learning."""

import copy

import torch
from torch import Tensor, nn

from nelbo.networks.unet import UNet


class InBFloat16(nn.Module):
    """A copy of a `Network` that computes in bfloat16 and holds its weights so: for sampling, never for a bound.

    Autocast alone would convert every weight again at every call. What a U-Net keeps in float32 in training stays in
    float32 here; an MLP runs in it always.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        if isinstance(self.network, UNet):
            for part in self.network.inner():
                if isinstance(part, nn.Conv2d | nn.Linear):
                    part.bfloat16()

    def forward(self, x_t: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """See `Network`."""
        with torch.autocast(x_t.device.type, torch.bfloat16):
            return self.network(x_t, t, label)  # type: ignore[no-any-return]
