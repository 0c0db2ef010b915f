"""The U-Net of Ho, Jain & Abbeel (2020), appendix B: residual blocks at several resolutions with skip connections."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nelbo.condition import ConditionLike
from nelbo.networks.conditioning import ConditionEmbedding
from nelbo.networks.layers import (
    FeatureDropout,
    GroupNorm,
    at_least_single,
    attend,
    full_precision,
    initialise,
    working_dtype,
)
from nelbo.networks.pixel_features import input_features
from nelbo.networks.unet_options import UNetOptions

NEARLY_ZERO = 1e-10


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU and a 3x3 convolution, twice; the condition is added in between, and the input at the end."""

    def __init__(self, width_in: int, width: int, options: UNetOptions) -> None:
        super().__init__()
        self.norm1 = GroupNorm(options.groups, width_in, options.norm_eps, activated=True)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1)
        self.condition = nn.Linear(4 * options.base, width)
        self.norm2 = GroupNorm(options.groups, width, options.norm_eps, activated=True)
        self.dropout = FeatureDropout(options.dropout)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Identity() if width_in == width else nn.Conv2d(width_in, width, 1)
        initialise(self)
        initialise(self.conv2, NEARLY_ZERO)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map `x` (B, width_in, H, W) and the activated condition (B, 4 * base) to (B, width, H, W)."""
        h = self.conv1(self.norm1(x))
        h += self.condition(condition)[:, :, None, None]
        h = self.conv2(self.dropout(self.norm2(h)))
        h += self.shortcut(x)
        return h  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Self-attention of all pixels; the logits are scaled by (channels of a head) ** -1/2."""

    def __init__(self, width: int, options: UNetOptions) -> None:
        super().__init__()
        self.heads = options.heads_at(width)
        self.norm = GroupNorm(options.groups, width, options.norm_eps)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        initialise(self.output, NEARLY_ZERO)
        nn.init.zeros_(self.query_key_value.bias)
        for weight in self.query_key_value.weight.chunk(3):  # three maps of `width` inputs and outputs
            nn.init.xavier_uniform_(weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape. With channels-last inputs, every reshape here is a view."""
        batch, width, height, columns = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # B, HW, C
        parts = self.query_key_value(tokens).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)  # B, heads, HW, C'
        mixed = attend(query, key, value).transpose(1, 2).reshape(batch, -1, width)
        return x + self.output(mixed).transpose(1, 2).view(batch, width, height, columns)  # type: ignore[no-any-return]


class Stage(nn.Module):
    """A residual block, and self-attention if `attention` is true."""

    def __init__(self, width_in: int, width: int, attention: bool, options: UNetOptions) -> None:
        super().__init__()
        self.checkpointing = options.checkpointing
        self.residual = ResidualBlock(width_in, width, options)
        self.attention = SelfAttention(width, options) if attention else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map (B, width_in, H, W) and the activated condition (B, 4 * base) to (B, width, H, W)."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._run, x, condition, use_reentrant=False)  # type: ignore[no-any-return]
        return self._run(x, condition)

    def _run(self, x: Tensor, condition: Tensor) -> Tensor:
        return self.attention(self.residual(x, condition))  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Halve both sides by a 3x3 convolution of stride 2, padded at the right and the bottom only, or on all sides."""

    def __init__(self, width: int, options: UNetOptions) -> None:
        super().__init__()
        self.padding = (1, 1, 1, 1) if options.symmetric_padding else (0, 1, 0, 1)
        self.conv = nn.Conv2d(width, width, 3, stride=2)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H/2, W/2)."""
        return self.conv(F.pad(x, self.padding))  # type: ignore[no-any-return]


# A 3x3 convolution of repeated pixels is a 4x4 transposed convolution. Its rows are these sums of the 3x3 rows.
REPEATED = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])


class Upsample(nn.Module):
    """Double both sides by repeating pixels, then apply a 3x3 convolution.

    Both are done at once by a transposed convolution. All products with copies of the same pixel become one product
    with a sum of weights: 16 products per input pixel and channel in place of 36.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2H, 2W)."""
        weight = self.conv.weight
        with full_precision(x):
            sums = REPEATED.to(weight)
            kernel = torch.einsum("au,bv,ocuv->coab", sums, sums, weight)
        return F.conv_transpose2d(x, kernel, self.conv.bias, stride=2, padding=1)


class UNet(nn.Module):
    """A `Network` for images: predicts a tensor of the shape of `x_t` from `x_t` and `t`.

    A side that cannot be halved at every level is padded inside the network: the features of the input with zeros,
    which depend on nothing, and the output is cut. Features are channels-last. Under autocast, the first and the last
    convolution and the time embedding stay in float32, because the low bits of `x_t` matter at low noise.
    """

    def __init__(self, options: UNetOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or UNetOptions()
        widths, bottom = options.widths, len(options.widths) - 1
        self.condition = ConditionEmbedding(
            options.base, options.num_classes, options.first_time, options.frequency_shift, options.condition_size
        )
        self.input = nn.Conv2d(options.num_features, options.base, 3, padding=1)

        width, skips = options.base, [options.base]
        self.down, self.downsample = nn.ModuleList(), nn.ModuleList()
        for level, width_out in enumerate(widths):
            stages = nn.ModuleList()
            for _ in range(options.blocks):
                stages.append(Stage(width, width_out, level in options.attention, options))
                width = width_out
                skips.append(width)
            self.down.append(stages)
            if level < bottom:
                self.downsample.append(Downsample(width, options))
                skips.append(width)

        self.middle = nn.ModuleList(
            [Stage(width, width, options.middle_attention, options), Stage(width, width, False, options)]
        )

        self.up, self.upsample = nn.ModuleList(), nn.ModuleList()  # in the order of use, from the bottom to the top
        for level, width_out in reversed(list(enumerate(widths))):
            stages = nn.ModuleList()
            for _ in range(options.blocks + 1):
                stages.append(Stage(width + skips.pop(), width_out, level in options.attention, options))
                width = width_out
            self.up.append(stages)
            if level > 0:
                self.upsample.append(Upsample(width))

        self.norm = GroupNorm(options.groups, width, options.norm_eps, activated=True)
        self.output = nn.Conv2d(width, options.channels * (2 if options.learned_variance else 1), 3, padding=1)
        initialise(self.input)
        initialise(self.output, NEARLY_ZERO)

    @classmethod
    def cifar10(cls, **overrides: Any) -> Self:
        """Build the paper's network for 32x32 images, with 35,746,307 parameters.

        Args:
            overrides: other values of the fields of `UNetOptions`.
        """
        return cls(replace(UNetOptions(), **overrides))

    @classmethod
    def lsun256(cls, **overrides: Any) -> Self:
        """Build the paper's network for 256x256 images, with 113,673,219 parameters.

        Args:
            overrides: other values of the fields of `UNetOptions`.
        """
        return cls(replace(UNetOptions(multipliers=(1, 1, 2, 2, 4, 4), attention=(4,), dropout=0.0), **overrides))

    def inner(self) -> Iterator[nn.Module]:
        """Yield the layers that follow autocast: all except the first and last convolutions and the time embedding."""
        for part in (self.down, self.downsample, self.middle, self.up, self.upsample):
            yield from part.modules()

    def forward(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Predict from `x_t` (B, C, H, W), `t` (B,) integer or float, and labels int64 (B,), a condition, or None.

        Returns:
            (B, C, H, W), or (B, 2C, H, W) for a learned variance; float32 (float64 from a float64 network).

        Raises:
            ShapeError: the images have another number of channels.
            ConfigurationError: a part of the condition that this network does not take.
        """
        condition = F.silu(self.condition(t, label, x_t.shape[0]))
        with full_precision(x_t):  # not empty, which torch.export could not load
            h = self.input(input_features(x_t, label, self.options))
        # set the layout here: for one channel it is ambiguous, and all later layers inherit it
        h = h.to(working_dtype(x_t), memory_format=torch.channels_last)

        skips = [h]
        for level, stages in enumerate(self.down):
            if level > 0:
                h = self.downsample[level - 1](h)
                skips.append(h)
            for stage in cast(nn.ModuleList, stages):
                h = stage(h, condition)
                skips.append(h)

        for stage in self.middle:
            h = stage(h, condition)

        for step, stages in enumerate(self.up):
            if step > 0:
                h = self.upsample[step - 1](h)
            for stage in cast(nn.ModuleList, stages):
                h = stage(torch.cat([h, skips.pop()], dim=1), condition)

        with full_precision(x_t):
            output: Tensor = self.output(self.norm(at_least_single(h)))
        return output[..., : x_t.shape[2], : x_t.shape[3]]
