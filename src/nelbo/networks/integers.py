"""Convolutions of integers that float32 computes exactly: on every device, and in any order of the sums.

Float32 holds every integer up to 2^24. So the sums of a filter are exact if its absolute weights times the largest
input, plus its bias and the rounding term, stay below that.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.display import Brief
from nelbo.errors import CodecError, ConfigurationError

EXACT = 1 << 24  # every integer up to here is a float32
UNIT = 64  # the integer that stands for 1 in inputs, hidden values and outputs
LARGEST_WEIGHT, MOST_SHIFT = 127, 15


@contextmanager
def exact_float32() -> Iterator[None]:
    """Compute float32 products in float32 within the block, whatever the caller chose: no TF32, no bfloat16.

    NNPACK is off, because it convolves by Winograd or Fourier.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        cpu, cuda = (torch.autocast(device, enabled=False) for device in ("cpu", "cuda"))
        with cpu, cuda, torch.backends.nnpack.flags(enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True, eq=False)
class IntegerConv(Brief):
    """A convolution of integers: floor((weight * x + bias) / 2^shift + 1/2), exact in float32.

    Attributes:
        weight: (O, I, k, k) integers within -127..127, float32.
        bias: (S, O) integers for each of S steps, float32; with S = 1, the same for all.
        shift: (O,) integers, float32.
        limit: largest absolute value of an input.
        stride: 1 with zero padding of k // 2, or k without padding.

    Raises:
        ConfigurationError: a sum of some filter could reach 2^24, or a weight has more than 8 bits.
    """

    weight: Tensor
    bias: Tensor
    shift: Tensor
    limit: int
    stride: int = 1

    def __post_init__(self) -> None:
        if (most := int(self.weight.abs().max())) > LARGEST_WEIGHT:
            raise ConfigurationError(f"a weight of {most} has more than 8 bits; use weights within +-{LARGEST_WEIGHT}.")
        largest = int(self.largest_sums().max())
        if largest >= EXACT:
            raise ConfigurationError(
                f"a filter with sums up to {largest:,} is not exact in float32, which needs less than {EXACT:,}; use "
                "smaller weights."
            )

    def largest_sums(self) -> Tensor:
        """Return the largest absolute sum that each filter can reach, (O,) float64."""
        weights = self.weight.double().abs().flatten(1).sum(1)
        return weights * self.limit + self.bias.double().abs().amax(0) + torch.exp2(self.shift.double() - 1)

    def __call__(self, x: Tensor, step: int = 0) -> Tensor:
        """Convolve integers (B, I, H, W), float32, for a step: (B, O, H', W')."""
        padding = _padding(self.weight.shape[2], self.stride)
        sums = _summed(x, self.weight, padding, self.stride).add_(self._added(step)[:, None, None])
        return sums.mul_(torch.exp2(-self.shift)[:, None, None]).floor_()

    def pixels(self, x: Tensor) -> Tensor:
        """Convolve integers (B, H, W, I), float32, whose features come last: (B, H', W', O)."""
        return self(x.movedim(3, 1)).movedim(1, 3) if self.weight.shape[2] > 1 else self.rows(x)

    def rows(self, x: Tensor, step: int = 0) -> Tensor:
        """Apply a convolution of k = 1 to integers (..., I), float32, for a step: (..., O)."""
        sums = F.linear(x, self.weight.flatten(1)).add_(self._added(step))
        return sums.mul_(torch.exp2(-self.shift)).floor_()

    def is_exact_here(self) -> bool:
        """Return whether this machine computes examples at the limits as float64 does, where nothing is rounded."""
        generator, device = torch.Generator().manual_seed(0), self.weight.device
        x = torch.randint(-self.limit, self.limit + 1, (17, self.weight.shape[1], 4, 4), generator=generator)
        x[::2] = self.limit * x[::2].sign()
        expected = replace(self, weight=self.weight.double())(x.to(device).double()).float()
        found = [self(x.to(device).float()), self.pixels(x.to(device).float().movedim(1, 3)).movedim(3, 1)]
        return all(torch.equal(each, expected) for each in found)

    def _added(self, step: int) -> Tensor:
        """Return the bias of a step and the rounding term, (O,)."""
        return self.bias[step if len(self.bias) > 1 else 0] + torch.exp2(self.shift - 1)


def _summed(x: Tensor, weight: Tensor, padding: int, stride: int) -> Tensor:
    """Convolve without a bias: float32 on a CPU directly, and everything else as a matrix product.

    A library may choose Winograd or Fourier for a convolution, which are inexact. PyTorch never does so on a CPU:
    oneDNN is asked for the direct algorithm, and without oneDNN it is a matrix product.
    """
    side = weight.shape[2]
    if x.device.type == "cpu" and x.dtype == torch.float32:
        return F.conv2d(x, weight, stride=stride, padding=padding)
    columns = x.flatten(2) if side == 1 else F.unfold(x, side, padding=padding, stride=stride)
    shape = (len(x), len(weight), x.shape[2] // stride, x.shape[3] // stride)
    return (weight.flatten(1) @ columns).view(shape)


def require_exact(layers: Iterable[IntegerConv]) -> None:
    """Check that this machine computes layers exactly.

    Raises:
        CodecError: it doesn't, so that other machines could not read what it writes.
    """
    with exact_float32():
        if not all(layer.is_exact_here() for layer in layers):
            raise CodecError(
                "this machine does not compute sums of integers exactly in float32; unset settings such as "
                "DNNL_DEFAULT_FPMATH_MODE, or use another machine."
            )


class RoundedConv(nn.Module):
    """The same convolution in training: its weights are rounded, and the gradient passes through the rounding.

    Inputs and outputs are floats in units of 1/64.

    Args:
        shape: (O, I, k) of the weight (O, I, k, k).
        limit: largest absolute value of an input.
        steps: S, the number of biases; 1 for the same bias at all steps.
        stride: 1, or k.
        zero: start with weights of 0.
    """

    def __init__(self, shape: Sequence[int], limit: int, steps: int = 1, stride: int = 1, zero: bool = False) -> None:
        super().__init__()
        width_out, width_in, side = shape
        self.limit, self.stride = limit, stride
        self.weight = nn.Parameter(torch.zeros(width_out, width_in, side, side))
        self.bias = nn.Parameter(torch.zeros(steps, width_out))
        if not zero:
            nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        """Convolve x (B, I, H, W), with the bias of each example's step (B,)."""
        bias = self.bias[step] if len(self.bias) > 1 else self.bias
        weight = self._straight_through()
        padding = _padding(weight.shape[2], self.stride)
        return F.conv2d(x, weight, stride=self.stride, padding=padding) + UNIT * bias[:, :, None, None]

    def pixels(self, x: Tensor) -> Tensor:
        """Convolve x (B, H, W, I), whose features come last: (B, H', W', O)."""
        if self.weight.shape[2] > 1:
            return self.forward(x.movedim(3, 1), x.new_zeros(len(x), dtype=torch.long)).movedim(1, 3)
        return self.rows(x)

    def rows(self, x: Tensor, step: int = 0) -> Tensor:
        """Apply a convolution of k = 1 to x (..., I), with the bias of a step: (..., O)."""
        return F.linear(x, self._straight_through().flatten(1), UNIT * self.bias[step if len(self.bias) > 1 else 0])

    def _straight_through(self) -> Tensor:
        """Return the rounded weights, whose gradient is that of the weights."""
        rounded, shift = self._rounded()
        return self.weight + (torch.ldexp(rounded, -shift[:, None, None, None]) - self.weight).detach()

    @torch.no_grad()
    def exact(self) -> IntegerConv:
        """Return the convolution of integers."""
        rounded, shift = self._rounded()
        bias = torch.ldexp(UNIT * self.bias.double(), shift).round()
        return IntegerConv(rounded, bias.float(), shift.float(), self.limit, self.stride)

    @torch.no_grad()
    def _rounded(self) -> tuple[Tensor, Tensor]:
        """Return the weights as integers and the shift (O,) of each filter: the largest one that stays exact."""
        weight = self.weight.flatten(1)
        largest, total = weight.abs().amax(1).double(), weight.abs().double().sum(1)
        slack = self.limit * weight.shape[1] / 2 + 1  # each weight is rounded by up to 1/2
        sums = self.limit * total + UNIT * self.bias.double().abs().amax(0) + 1
        room = torch.minimum((LARGEST_WEIGHT + 0.49) / largest.clamp(min=1e-9), (EXACT - slack) / sums)
        shift = (torch.frexp(room).exponent - 1).clamp(0, MOST_SHIFT)
        return torch.ldexp(self.weight, shift[:, None, None, None]).round(), shift


def _padding(side: int, stride: int) -> int:
    return side // 2 if stride == 1 else 0
