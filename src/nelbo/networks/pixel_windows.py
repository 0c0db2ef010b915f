"""What a pixel network with residual blocks reads for the pixels of a pass: the window around each of them."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.networks.integers import EXACT
from nelbo.networks.pixel_options import PixelOptions

INPUT = 64  # the integer that stands for 1 in the network's input, which counts half levels
SHIFT = 8  # half levels in a shift of 1
FINE = 8  # how much larger the known values around a pixel are on the fine scale, where a shift of 1 is 1
LARGEST_FINE = 480  # integer
PREDICTION_BITS = 12  # of the weights of the linear prediction, behind the point


class Place(Protocol):
    """Where the pixels of a pass are: `nelbo.diffusion.passes.Pass`."""

    @property
    def row(self) -> int: ...

    @property
    def column(self) -> int: ...

    @property
    def channel(self) -> int: ...

    @property
    def stage(self) -> int: ...

    @property
    def spacing(self) -> int: ...

    @property
    def number(self) -> int: ...


def largest_input(options: PixelOptions) -> int:
    """Return the largest absolute value of what the network reads, as an integer."""
    top = max(2 * (options.levels - 1), INPUT)  # INPUT says that a pixel is known
    return max(top, LARGEST_FINE) if options.dilated else top


def windows(x: Tensor, place: Place, options: PixelOptions) -> Tensor:
    """Return the windows around the pixels of a pass in x (B, I, H, W): (B, h, w, I, n, n), with zeros outside."""
    side, apart = options.side, place.spacing if options.dilated else 1
    reach = options.window // 2 * apart
    rows, columns = len(range(place.row, x.shape[2], side)), len(range(place.column, x.shape[3], side))
    padded = F.pad(x, (reach, reach + side, reach, reach + side))[..., place.row :, place.column :]
    cut = padded.unfold(2, 2 * reach + 1, side)[:, :, :rows, :, ::apart]
    cut = cut.unfold(3, 2 * reach + 1, side)[:, :, :, :columns, :, ::apart]
    return cut.permute(0, 2, 3, 1, 4, 5)


def neighbours(seen: Tensor, inside: Tensor, options: PixelOptions, one: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return how dilated windows differ from their pixels: the known values and xhat_0, and the mean of the known ones.

    A known value is that of a pixel less its xhat_0; the difference is that from the mean of those in the middle of the
    window. A pixel that is not known, or outside of the image, gets the mean difference of the known ones of the eight
    around it.

    Args:
        seen: (B, h, w, 6C, n, n) windows of `nelbo.diffusion.pixel_decoder.features`.
        inside: (1, h, w, 1, n, n) 1 inside the image, 0 outside.
        options: of the network.
        one: the number that stands for 1.

    Returns:
        The differences (B, h, w, C, n, n) of the known values and of xhat_0, and the means (B, h, w, C).
    """
    unit, middle = one / INPUT, options.window // 2
    near, limit = slice(middle - 1, middle + 2), unit * largest_input(options)
    xhat_0, _, offset, known, *_ = seen.unflatten(3, (-1, options.channels)).unbind(3)
    known = known / one
    shift = _mean(offset[..., near, near].sum((-2, -1)), known[..., near, near].sum((-2, -1)), unit)
    around = (known * (offset - shift[..., None, None])).clamp(-limit, limit)
    filled = _mean(_sum_of_nine(around), _sum_of_nine(known), unit)
    steps = inside * (xhat_0 - xhat_0[..., middle, middle][..., None, None])
    return torch.where(known > 0, around, filled), steps, shift


def relative(
    seen: Tensor, inside: Tensor, place: Place, options: PixelOptions, one: float, prediction: Tensor
) -> tuple[Tensor, Tensor]:
    """Return dilated windows relative to what is known next to their pixels, (B, h, w, window_inputs), and this shift.

    A pixel resembles its neighbours, so the network sees how they differ from their mean, on two scales, and predicts
    how the pixel differs from a linear prediction. The shift (B, h, w) is that of this prediction from the pixel's own
    xhat_0.

    Args:
        seen: see `neighbours`.
        inside: see `neighbours`.
        place: where the pixels of the pass are.
        options: of the network.
        one: the number that stands for 1.
        prediction: (side^2 C, 2 C n^2) integers, the weights of each pass in units of 2^-12.
    """
    unit, middle = one / INPUT, options.window // 2
    xhat_0, noisy, _, *known = seen.unflatten(3, (-1, options.channels)).unbind(3)
    around, steps, shift = neighbours(seen, inside, options, one)
    fine = (FINE * around).clamp(-unit * LARGEST_FINE, unit * LARGEST_FINE)
    stage = seen.new_zeros(*seen.shape[:3], options.stages)
    stage[..., place.stage] = one
    linear = torch.cat([around, steps], 3).flatten(3) / unit
    with torch.autocast(linear.device.type, enabled=False):  # bfloat16 would round the levels
        sums = linear @ prediction[place.number].to(linear.dtype)
    predicted = sums.div(2**PREDICTION_BITS).add(0.5).floor() * unit
    parts = [part.flatten(3) for part in (steps, noisy, around, fine, *known)]
    read = torch.cat([*parts, xhat_0[..., middle, middle], shift, stage], 3)
    return read, shift[..., place.channel] + predicted


def no_prediction(options: PixelOptions) -> Tensor | None:
    """Return weights of 0 for the linear prediction, or None for windows without one."""
    return torch.zeros(prediction_shape(options), dtype=torch.int32) if options.dilated else None


def check_prediction(weights: Tensor | None, options: PixelOptions) -> None:
    """Check that weights of the linear prediction fit, and that float32 computes their sums exactly.

    Raises:
        ConfigurationError: they don't.
    """
    shape = prediction_shape(options) if options.dilated else None
    found = None if weights is None else tuple(weights.shape)
    if found != shape:
        raise ConfigurationError(f"the weights of the linear prediction have the shape {found}; give {shape}.")
    if weights is not None and int(weights.long().abs().sum(1).max()) > largest_prediction(options):
        raise ConfigurationError(
            f"the weights of the linear prediction add up to more than {largest_prediction(options):,} in a pass; "
            "use smaller ones."
        )


def prediction_shape(options: PixelOptions) -> tuple[int, int]:
    """Return the shape of the weights of the linear prediction: (side^2 C, 2 C n^2)."""
    return options.side**2 * options.channels, 2 * options.channels * options.window**2


def largest_prediction(options: PixelOptions) -> int:
    """Return the largest sum of the absolute weights of a pass that float32 computes exactly."""
    return (EXACT - 1) // largest_input(options)


def _mean(total: Tensor, num: Tensor, unit: float) -> Tensor:
    """Return total / num rounded down to units, or 0 without any. The added 1/2 keeps quotients off the integers."""
    return ((total / unit + 0.5) / num.clamp(min=1)).floor() * unit


def _sum_of_nine(x: Tensor) -> Tensor:
    """Return the sum over each pixel of (..., n, n) and the eight around it."""
    return F.avg_pool2d(x.flatten(0, -4), 3, 1, 1, divisor_override=1).view(x.shape)
