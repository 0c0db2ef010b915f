"""A time-conditioned multilayer perceptron for points: two-dimensional toys and other vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.condition import ConditionLike
from nelbo.errors import ShapeError
from nelbo.networks.conditioning import ConditionEmbedding, planes_beside
from nelbo.networks.layers import full_precision, initialise
from nelbo.networks.mlp_options import MLPOptions


class Layer(nn.Module):
    """A residual layer: LayerNorm, a linear map, the condition added, SiLU, a second linear map."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, width)
        self.condition = nn.Linear(4 * width, width)
        self.linear2 = nn.Linear(width, width)
        initialise(self)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Map `x` (B, width) and the activated condition (B, 4 * width) to (B, width)."""
        h = self.linear1(self.norm(x)) + self.condition(condition)
        return x + self.linear2(F.silu(h))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """A `Network` for points: outputs (B, dims), or (B, 2 * dims) for a learned variance, always in float32."""

    def __init__(self, options: MLPOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or MLPOptions()
        self.condition = ConditionEmbedding(options.width, options.num_classes, condition_size=options.condition_size)
        self.input = nn.Linear(options.dims * (2 if options.masked else 1), options.width)
        self.layers = nn.ModuleList(Layer(options.width) for _ in range(options.depth))
        self.output = nn.Linear(options.width, options.dims * (2 if options.learned_variance else 1))
        initialise(self.input)
        initialise(self.output, 1e-10)

    def forward(self, x_t: Tensor, t: Tensor, label: ConditionLike | None = None) -> Tensor:
        """Predict from `x_t` (B, dims), `t` (B,) and labels (B,), a condition or None; `x_t` can also be (B, C, H, W).

        Raises:
            ShapeError: an example doesn't have `dims` numbers.
            ConfigurationError: a part of the condition that this network does not take, such as an image.
        """
        if x_t.ndim < 2 or x_t[0].numel() != self.options.dims:
            raise ShapeError(
                f"the network was given a tensor of shape {tuple(x_t.shape)}, but expects (batch, {self.options.dims})"
                " or images of as many numbers."
            )
        with full_precision(x_t):
            condition = F.silu(self.condition(t, label, x_t.shape[0]))
            planes = planes_beside(x_t, label, self.options.masked, None)
            h = self.input(torch.cat([each.flatten(1) for each in (x_t, *planes)], dim=1))
            for layer in self.layers:
                h = layer(h, condition)
            out: Tensor = self.output(h)
            return out.unflatten(1, (-1, *x_t.shape[2:])) if x_t.ndim > 2 else out
