"""Layers that the networks share: sinusoids of t, normalisation, attention, dropout, initialisation."""

import math
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.networks.group_norm import sliced_group_norm


class Network(Protocol):
    """A callable that maps a noisy batch and its times to a tensor of the batch's shape.

    For a learned variance, it returns twice as many channels: the prediction first, then the half that parameterizes
    the variance.

    Its third argument is labels int64 (B,), or a `nelbo.condition.Condition` where there is more than labels: numbers,
    an image, or a mask of observed pixels.

    Examples:
        One convolution, with the time as a second channel:

        >>> import torch
        >>> from nelbo.diffusion import NoiseSchedule, ReverseProcess
        >>> class OneConvolution(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.conv = torch.nn.Conv2d(2, 1, 3, padding=1)
        ...
        ...     def forward(self, x_t, t, label=None):
        ...         time = (t / 1000).view(-1, 1, 1, 1).expand_as(x_t)
        ...         return self.conv(torch.cat([x_t, time], dim=1))
        >>> reverse = ReverseProcess(OneConvolution(), NoiseSchedule.linear())
        >>> reverse.predict(torch.zeros(2, 1, 8, 8), torch.tensor([1, 1000])).x_0.shape
        torch.Size([2, 1, 8, 8])
    """

    def __call__(self, x_t: Tensor, t: Tensor, label: Any = None) -> Tensor:
        """Return the output for `x_t` (B, C, ...), `t` (B,) in the network's own time, and a condition or None."""
        ...


def full_precision(x: Tensor) -> torch.autocast:
    """Return a context that suspends autocast on the device of `x`, so operations inside stay in float32."""
    return torch.autocast(x.device.type, enabled=False)


def at_least_single(x: Tensor) -> Tensor:
    """Return `x` in float32; float64 is left unchanged."""
    return x if x.dtype == torch.float64 else x.float()


def working_dtype(x: Tensor) -> torch.dtype:
    """Return the output dtype of convolutions of `x`: that of autocast if it is enabled, else that of `x`."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class GroupNorm(nn.GroupNorm):
    """Group normalisation of (B, C, H, W), channels-last in and out, with statistics in float32.

    On a CPU, PyTorch's kernel for channels-last bfloat16 images below 1,024 pixels visits the channels of a narrow
    group one by one. It takes two to ten times as long as the alternatives used here: float32, or the contiguous kernel
    for groups so narrow that the float32 kernel has the same problem. From 1,024 pixels on, the backward pass is that
    of `sliced_group_norm`.

    Attributes:
        activated: whether SiLU is applied to the output.
    """

    def __init__(self, groups: int, width: int, eps: float = 1e-6, activated: bool = False) -> None:
        super().__init__(groups, width, eps=eps)
        self.activated = activated

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape and layout."""
        slow = x.device.type == "cpu" and x.dtype == torch.bfloat16 and not torch.compiler.is_compiling()
        large = x.shape[2] * x.shape[3] >= 1024
        if slow and large and x.requires_grad and x.is_contiguous(memory_format=torch.channels_last):
            return sliced_group_norm(x, self.weight, self.bias, self.num_groups, self.eps, self.activated)
        y = self._small(x) if slow and not large else super().forward(x)
        return F.silu(y) if self.activated else y

    def _small(self, x: Tensor) -> Tensor:
        per_group = x.shape[1] // self.num_groups
        if per_group >= 16:
            return super().forward(x)
        if per_group < 8:
            return super().forward(x.contiguous()).contiguous(memory_format=torch.channels_last)
        return super().forward(x.float()).to(x.dtype)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(query key^T / sqrt(C)) value for (B, heads, tokens, C) each, with the softmax in float32.

    It is PyTorch's fused kernel, except for up to 1,024 tokens in bfloat16 on a CPU: there the fused kernel takes twice
    as long as the separate operations.
    """
    few = query.shape[2] <= 1024
    if few and query.dtype == torch.bfloat16 and query.device.type == "cpu" and not torch.compiler.is_compiling():
        logits = (query @ key.mT).float() / math.sqrt(query.shape[3])
        return logits.softmax(-1).to(value.dtype) @ value
    return F.scaled_dot_product_attention(query, key, value)


class FeatureDropout(nn.Module):
    """Dropout of single features of images (B, C, H, W) or tokens (B, N, C), with 16 random bits per element on a CPU.

    On a CPU, PyTorch draws the mask element by element on one thread, about a tenth of a training step. Here a 64-bit
    draw serves four elements, at a quarter of that cost. The probability is rounded to a multiple of 2^-16, and the
    scale to the dtype (0.16% too low in bfloat16 at 0.1), because scaling in float32 takes a quarter longer.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Set each element to zero with the given probability and scale the rest; in evaluation mode, return x."""
        if not self.training or self.probability == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return F.dropout(x, self.probability)
        bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        threshold = round(self.probability * 2**16) - 2**15
        kept = torch.ge(bits[: x.numel()], threshold, out=torch.empty(x.numel(), dtype=x.dtype))
        kept = (
            kept.view(x.movedim(1, -1).shape).movedim(-1, 1) if x.ndim == 4 else kept.view(x.shape)
        )  # the layout of x
        return x * kept.div_(1 - self.probability)


def initialise(module: nn.Module, scale: float = 1.0) -> None:
    """Initialise convolutions and linear maps as Ho et al. do: uniform with variance scale / fan-average, bias 0.

    With a `scale` of 1e-10, a branch starts close to the zero map, but gradients still pass.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(scale))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def frequencies(
    dim: int,
    shift: int = 1,
    max_period: float = 10_000.0,
    *,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Return the frequencies w of `sinusoids`, (dim / 2,), which fall geometrically from 1.

    Args:
        shift: 1 if the last frequency is 1 / `max_period`, as in the code of Ho et al.; 0 if 1 / `max_period` is the
            one after the last.
    """
    half = dim // 2
    exponents = torch.arange(half, device=device, dtype=dtype) / (half - shift)
    return torch.exp(-math.log(max_period) * exponents)


def sinusoids(
    t: Tensor, dim: int, shift: int = 1, max_period: float = 10_000.0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Return [sin(t w), cos(t w)], (B, dim), for the w of `frequencies`, computed in `dtype`.

    In float32, the last digit of w can differ between machines, which changes the angle by 1e-4 at t = 1000.
    """
    angles = t.to(dtype)[:, None] * frequencies(dim, shift, max_period, device=t.device, dtype=dtype)[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)
