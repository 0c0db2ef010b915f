"""The diffusion transformer of Peebles & Xie (2023): patches as tokens, and blocks that the condition modulates."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nelbo.condition import ConditionLike
from nelbo.networks.conditioning import ConditionEmbedding
from nelbo.networks.dit_options import DiTOptions
from nelbo.networks.layers import FeatureDropout, at_least_single, attend, full_precision, initialise, sinusoids
from nelbo.networks.pixel_features import input_features

NORM_EPS = 1e-6


class Block(nn.Module):
    """Self-attention and a perceptron, each modulated by adaLN-zero.

    The condition gives each of the two a shift and a scale of its normalised input, and a gate of its output. All six
    start at 0, so that the block starts as the identity.
    """

    def __init__(self, options: DiTOptions) -> None:
        super().__init__()
        width, hidden = options.width, options.expansion * options.width
        self.heads, self.checkpointing = options.heads, options.checkpointing
        self.modulation = nn.Linear(width, 6 * width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mixed = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.dropout = FeatureDropout(options.dropout)
        initialise(self)
        for weight in self.query_key_value.weight.chunk(3):  # three maps of `width` inputs and outputs
            nn.init.xavier_uniform_(weight)
        nn.init.zeros_(self.modulation.weight)

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Map tokens (B, N, width) and the activated condition (B, width) to (B, N, width)."""
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(self._run, h, condition, use_reentrant=False)  # type: ignore[no-any-return]
        return self._run(h, condition)

    def _run(self, h: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=2)
        h = h + gate1 * self._attention(modulated(h, shift1, scale1))
        hidden = F.gelu(self.expand(modulated(h, shift2, scale2)), approximate="tanh")
        return h + gate2 * self.contract(self.dropout(hidden))  # type: ignore[no-any-return]

    def _attention(self, h: Tensor) -> Tensor:
        parts = self.query_key_value(h).chunk(3, dim=2)
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)  # B, heads, N, C'
        return self.dropout(self.mixed(attend(query, key, value).transpose(1, 2).flatten(2)))  # type: ignore[no-any-return]


def modulated(h: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Return LayerNorm(h) (1 + scale) + shift for tokens (B, N, width) and (B, 1, width) each."""
    return F.layer_norm(h, h.shape[-1:], eps=NORM_EPS) * (1 + scale) + shift


def position_embedding(rows: int, columns: int, width: int, like: Tensor) -> Tensor:
    """Return the sinusoids of the column and of the row of each token, (rows * columns, width), row by row.

    A position is counted in patches from the upper left, so a grid of any aspect ratio has an embedding, and a part of
    a larger image has that of an image of its own size.
    """
    positions = (torch.arange(number, device=like.device) for number in (columns, rows))
    across, down = (sinusoids(each, width // 2, 0, dtype=like.dtype) for each in positions)
    grid = [across.expand(rows, -1, -1), down[:, None].expand(-1, columns, -1)]
    return torch.cat(grid, dim=2).flatten(0, 1)


class DiT(nn.Module):
    """A `Network` for images: predicts a tensor of the shape of `x_t` from `x_t` and `t`, and starts at 0.

    Images can have any sides: those that `patch` does not divide are padded inside the network, the features of the
    input with zeros, and the output is cut. The tokens stay in float32; under autocast, the linear maps and the
    attention of the blocks do not. The first and the last map and the time embedding stay in float32.
    """

    def __init__(self, options: DiTOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or DiTOptions()
        width, patch = options.width, options.patch
        self.condition = ConditionEmbedding(
            options.time_features, options.num_classes, condition_size=options.condition_size, width=width
        )
        self.input = nn.Conv2d(options.num_features, width, patch, stride=patch)
        self.blocks = nn.ModuleList(Block(options) for _ in range(options.depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, patch**2 * options.channels * (2 if options.learned_variance else 1))
        nn.init.xavier_uniform_(self.input.weight.view(width, -1))  # as the linear map that it is
        nn.init.zeros_(self.input.bias)  # type: ignore[arg-type]
        for layer in (self.modulation, self.output):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def inner(self) -> Iterator[nn.Module]:
        """Yield the layers that follow autocast: those of the blocks."""
        yield from self.blocks.modules()

    def forward(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Predict from `x_t` (B, C, H, W), `t` (B,) integer or float, and labels int64 (B,), a condition, or None.

        Returns:
            (B, C, H, W), or (B, 2C, H, W) for a learned variance; float32 (float64 from a float64 network).

        Raises:
            ShapeError: the images have another number of channels.
            ConfigurationError: a part of the condition that this network does not take.
        """
        condition = F.silu(self.condition(t, label, x_t.shape[0]))
        with full_precision(x_t):
            grid = self.input(input_features(x_t, label, self.options))
            rows, columns = grid.shape[2:]
            h = grid.flatten(2).mT + position_embedding(rows, columns, self.options.width, at_least_single(grid))
        for block in self.blocks:
            h = block(h, condition)
        with full_precision(x_t):
            shift, scale = self.modulation(condition)[:, None].chunk(2, dim=2)
            pixels: Tensor = self.output(modulated(h, shift, scale))
        return self._unpatched(pixels, rows, columns)[..., : x_t.shape[2], : x_t.shape[3]]

    def _unpatched(self, pixels: Tensor, rows: int, columns: int) -> Tensor:
        """Map the pixels of all patches (B, rows * columns, patch^2 C) to images (B, C, H, W)."""
        patch = self.options.patch
        parts = pixels.unflatten(2, (patch, patch, -1)).unflatten(1, (rows, columns))
        return parts.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)  # type: ignore[no-any-return]
