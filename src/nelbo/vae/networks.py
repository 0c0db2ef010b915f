"""Encoder and decoder: two small convolutional networks, mirror images of each other."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.errors import ConfigurationError
from nelbo.networks.layers import initialise

DECODERS = ("discretized", "gaussian")


@dataclass(frozen=True)
class VAEOptions:
    """What a `VAE` is made of.

    Attributes:
        shape: (C, H, W) of the images; both sides must be halved `depth` times.
        levels: K of the images.
        latent: dimensions of z.
        base: feature channels at full resolution's first halving; each further halving doubles them.
        depth: halvings of both sides.
        blocks: residual blocks at the lowest resolution, in either network.
        hidden: features of the layer between the lowest resolution and z.
        decoder: p(x|z) is a "discretized" Gaussian over the K levels (eq. 13), or a "gaussian" density.
        stddev: of p(x|z), one for all pixels, on data in [-1, 1]: where it begins if it is learned.
        learned_stddev: whether it is.
    """

    shape: tuple[int, int, int] = (1, 28, 28)
    levels: int = 256
    latent: int = 32
    base: int = 32
    depth: int = 2
    blocks: int = 1
    hidden: int = 256
    decoder: str = "discretized"
    stddev: float = 0.5
    learned_stddev: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has lists only
        for name, least in (("levels", 2), ("latent", 1), ("base", 1), ("depth", 0), ("blocks", 0), ("hidden", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least {least}")
        if not (math.isfinite(self.stddev) and self.stddev > 0):
            raise ConfigurationError(f"`stddev` is {self.stddev}, but must be a finite number above 0")
        if self.decoder not in DECODERS:
            raise ConfigurationError(f"`decoder` is {self.decoder!r}, but must be {' or '.join(DECODERS)}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels after each halving; one entry of `base` where nothing is halved."""
        return tuple(self.base * 2**level for level in range(max(self.depth, 1)))

    @property
    def lowest(self) -> tuple[int, int, int]:
        """(C, H, W) of the features at the lowest resolution."""
        _, height, width = self.shape
        return self.widths[-1], height >> self.depth, width >> self.depth


class ResidualBlock(nn.Module):
    """SiLU and a 3x3 convolution, twice, added to the input; at first it is almost the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        initialise(self.conv2, 1e-10)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return x + self.conv2(F.silu(self.conv1(F.silu(x))))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """x_0 (B, C, H, W) -> (B, 2 * latent): the mean and the log-variance of q(z|x)."""

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
        """(B, 2 * latent)."""
        return self.steps(x_0)  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """z (B, latent) -> (B, C, H, W): the mean of p(x|z).

    Cheap on purpose, because the Monte Carlo estimators decode a million draws: convolutions stand at the lowest
    resolution, and each doubling of the sides is one transposed convolution.
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
        """(B, C, H, W)."""
        return self.steps(z)  # type: ignore[no-any-return]
