"""The encoder and the decoder: two small convolutional networks that mirror each other."""

import math
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.networks.layers import initialise
from nelbo.vae.options import VAEOptions


class ResidualBlock(nn.Module):
    """SiLU and a 3x3 convolution, twice, added to the input. At initialisation it is almost the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        initialise(self.conv2, 1e-10)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """A map from x_0 (B, C, H, W) to the mean and the log-variance of q(z|x), (B, 2 * latent)."""

    def __init__(self, options: VAEOptions) -> None:
        super().__init__()
        channels, widths = options.shape[0], options.widths
        if options.depth == 0:
            steps: list[nn.Module] = [nn.Conv2d(channels, widths[0], 3, padding=1)]
        else:
            steps = [nn.Conv2d(channels, widths[0], 4, stride=2, padding=1)]
        for narrow, wide in pairwise(widths):
            steps += [nn.SiLU(), nn.Conv2d(narrow, wide, 4, stride=2, padding=1)]
        steps += [ResidualBlock(widths[-1]) for _ in range(options.blocks)]
        steps += [nn.SiLU(), nn.Flatten(), nn.Linear(math.prod(options.lowest), options.hidden)]
        steps += [nn.SiLU(), nn.Linear(options.hidden, 2 * options.latent)]
        self.steps = nn.Sequential(*steps)

    def forward(self, x_0: Tensor) -> Tensor:
        """Return the mean and the log-variance, (B, 2 * latent)."""
        return self.steps(x_0)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """A map from z (B, latent) to the mean of p(x|z), (B, C, H, W).

    It is small, because the Monte Carlo estimators decode a million draws: the residual blocks are at the lowest
    resolution only, and each doubling of the sides is one transposed convolution.
    """

    def __init__(self, options: VAEOptions) -> None:
        super().__init__()
        channels, widths = options.shape[0], options.widths
        steps: list[nn.Module] = [nn.Linear(options.latent, options.hidden), nn.SiLU()]
        steps += [nn.Linear(options.hidden, math.prod(options.lowest)), nn.Unflatten(1, options.lowest)]
        steps += [ResidualBlock(widths[-1]) for _ in range(options.blocks)]
        for wide, narrow in zip(widths[::-1], (*widths[-2::-1], widths[0]), strict=True):
            if options.depth:
                steps += [nn.SiLU(), nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1)]
        steps += [nn.SiLU(), nn.Conv2d(widths[0], channels, 3, padding=1)]
        self.steps = nn.Sequential(*steps)

    def forward(self, z: Tensor) -> Tensor:
        """Return the mean, (B, C, H, W)."""
        return self.steps(z)  # type: ignore[no-any-return]
