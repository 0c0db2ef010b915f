"""What a pixel network with residual blocks reads for the pixels of a pass: the window around each of them."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.networks.pixel_options import PixelOptions

INPUT = 64  # the integer that stands for 1 in the network's input, which counts half levels
SHIFT = 8  # half levels in a shift of 1
FINE = 8  # how much larger the known values around a pixel are on the fine scale, where a shift of 1 is 1
LARGEST_FINE = 480  # integer


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


def relative(seen: Tensor, inside: Tensor, place: Place, options: PixelOptions, one: float) -> tuple[Tensor, Tensor]:
    """Return dilated windows relative to what is known next to their pixels, (B, h, w, window_inputs), and this shift.

    A pixel resembles its neighbours, so the network sees how they differ from the mean of those that are known, on two
    scales, and predicts how the pixel does. The shift (B, h, w) is that of the mean from the pixel's own xhat_0.

    Args:
        seen: (B, h, w, 6C, n, n) windows of `nelbo.diffusion.pixel_decoder.features`.
        inside: (1, h, w, 1, n, n) 1 inside the image, 0 outside.
        place: where the pixels of the pass are.
        options: of the network.
        one: the number that stands for 1.
    """
    unit, middle, channels = one / INPUT, options.window // 2, options.channels
    largest, largest_fine = unit * largest_input(options), unit * LARGEST_FINE
    near = slice(middle - 1, middle + 2)
    xhat_0, noisy, offset, known, *ends = seen.unflatten(3, (-1, channels)).unbind(3)
    here = xhat_0[..., middle, middle]
    num = known[..., near, near].sum((-2, -1)) / one
    total = offset[..., near, near].sum((-2, -1)) / unit
    shift = ((total + 0.5) / num.clamp(min=1)).floor() * unit  # 1/2 keeps the quotient away from an integer
    around = (known / one * (offset - shift[..., None, None])).clamp(-largest, largest)
    fine = (FINE * around).clamp(-largest_fine, largest_fine)
    parts = [inside * (xhat_0 - here[..., None, None]), noisy, around, fine, known, *ends]
    stage = seen.new_zeros(*seen.shape[:3], options.stages)
    stage[..., place.stage] = one
    return torch.cat([*(part.flatten(3) for part in parts), here, shift, stage], 3), shift[..., place.channel]
