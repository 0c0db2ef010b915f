"""The encoder and the decoder of an autoencoder: residual blocks at several resolutions, without skip connections.

Layer for layer, they are those of diffusers' `AutoencoderKL` (Rombach et al. 2022), so weights travel both ways.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.latent.options import AutoencoderOptions
from nelbo.networks import UNetOptions
from nelbo.networks.layers import GroupNorm, at_least_single, full_precision, initialise
from nelbo.networks.unet import NEARLY_ZERO, Downsample, SelfAttention, Upsample


class PlainBlock(nn.Module):
    """GroupNorm, SiLU and a 3x3 convolution, twice, added to the input: the block of the U-Net without a condition."""

    def __init__(self, width_in: int, width: int, groups: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, width_in, activated=True)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.norm2 = GroupNorm(groups, width, activated=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)
        initialise(self)
        initialise(self.conv2, NEARLY_ZERO)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, width_in, H, W) to (B, width, H, W)."""
        return self.shortcut(x) + self.conv2(self.norm2(self.conv1(self.norm1(x))))  # type: ignore[no-any-return]


def _layers_of(width: int, options: AutoencoderOptions) -> UNetOptions:
    """Return what the layers shared with the U-Net read: one level of `width` channels."""
    return UNetOptions(base=width, multipliers=(1,), attention=(), groups=options.groups)


def _middle(width: int, options: AutoencoderOptions) -> nn.Sequential:
    """Return the blocks at the lowest resolution."""
    attention = SelfAttention(width, _layers_of(width, options)) if options.middle_attention else nn.Identity()
    return nn.Sequential(PlainBlock(width, width, options.groups), attention, PlainBlock(width, width, options.groups))


class Encoder(nn.Module):
    """A map from x_0 (B, C, H, W) to the mean and the log-variance of q(z|x), (B, 2L, h, w)."""

    def __init__(self, options: AutoencoderOptions) -> None:
        super().__init__()
        self.options, widths = options, options.widths
        self.input = nn.Conv2d(options.shape[0], widths[0], 3, padding=1)
        self.down, self.downsample, width = nn.ModuleList(), nn.ModuleList(), widths[0]
        for level, width_out in enumerate(widths):
            blocks = [
                PlainBlock(width if i == 0 else width_out, width_out, options.groups) for i in range(options.blocks)
            ]
            self.down.append(nn.Sequential(*blocks))
            width = width_out
            if level < len(widths) - 1:
                self.downsample.append(Downsample(width, _layers_of(width, options)))
        self.middle = _middle(width, options)
        self.norm = GroupNorm(options.groups, width, activated=True)
        self.output = nn.Conv2d(width, 2 * options.latent, 3, padding=1)
        self.moments = nn.Conv2d(2 * options.latent, 2 * options.latent, 1)
        initialise(self.input)
        initialise(self.output)
        initialise(self.moments)

    def forward(self, x_0: Tensor) -> Tensor:
        """Return the mean and the log-variance, (B, 2L, h, w) float32; sides are padded to multiples of the factor."""
        below, right = (-side % self.options.factor for side in x_0.shape[2:])
        h = F.pad(x_0, (0, right, 0, below)) if below or right else x_0
        h = self.input(h)
        for level, blocks in enumerate(self.down):
            h = self.downsample[level - 1](h) if level > 0 else h
            h = blocks(h)
        h = self.middle(h)
        with full_precision(x_0):
            return self.moments(self.output(self.norm(at_least_single(h))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """A map from z (B, L, h, w) to the means of the pixels, and to the features that their scales are read from."""

    def __init__(self, options: AutoencoderOptions) -> None:
        super().__init__()
        widths = options.widths[::-1]
        self.latents = nn.Conv2d(options.latent, options.latent, 1)
        self.input = nn.Conv2d(options.latent, widths[0], 3, padding=1)
        self.middle = _middle(widths[0], options)
        self.up, self.upsample, width = nn.ModuleList(), nn.ModuleList(), widths[0]
        for level, width_out in enumerate(widths):
            num = options.blocks + 1
            blocks = [PlainBlock(width if i == 0 else width_out, width_out, options.groups) for i in range(num)]
            self.up.append(nn.Sequential(*blocks))
            width = width_out
            if level < len(widths) - 1:
                self.upsample.append(Upsample(width))
        self.norm = GroupNorm(options.groups, width, activated=True)
        self.output = nn.Conv2d(width, options.shape[0], 3, padding=1)
        for layer in (self.latents, self.input, self.output):
            initialise(layer)

    def features(self, z: Tensor) -> Tensor:
        """Return the activated features (B, width, H, W) of full resolution, at least float32."""
        h = self.middle(self.input(self.latents(z)))
        for level, blocks in enumerate(self.up):
            h = self.upsample[level - 1](h) if level > 0 else h
            h = blocks(h)
        with full_precision(z):
            return self.norm(at_least_single(h))  # type: ignore[no-any-return]

    def forward(self, z: Tensor) -> Tensor:
        """Return the means of the pixels (B, C, H, W), of padded sides."""
        return self.output(self.features(z))  # type: ignore[no-any-return]
