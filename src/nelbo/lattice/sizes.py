"""The size of a lattice model that fits images of a shape and a number of levels."""

import math

from nelbo.diffusion.passes import num_stages
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.step_network import StepOptions

# The noise of y_1 in ranges of the levels, a log SNR of about 1.4; more with few levels. With half of it the channel's
# overhead costs a file 0.05 bits/dim more; with twice of it a file takes 0.02 to 0.04 less, but the first half of its
# bytes shows less of the image (benchmarks/README.md).
FINEST_NOISE = 1 / 4
STEPS = 8  # the noise of y_8 is 2.8 times the range of the levels
WIDTHS, BOTTOM = (32, 64, 128), 3
HIDDEN, BLOCKS, SIDE, CONVOLVED = 192, 3, 4, 1
HIDDEN_IN_COLOUR = 64  # more features take too long to train: there are three times as many passes


def spacing_of(levels: int) -> int:
    """Return the half levels in a unit of y_1, half of its noise: a power of two.

    >>> spacing_of(256), spacing_of(17), spacing_of(2)
    (64, 4, 1)
    """
    return 1 << max(round(math.log2(FINEST_NOISE * levels)), 0)


def step_options(shape: tuple[int, int, int]) -> StepOptions:
    """Return the size of the network of the chain for images (C, H, W): as many levels as their sides can be halved."""
    channels, height, width = shape
    halvings = min((side & -side).bit_length() - 1 for side in (height, width))
    return StepOptions(channels, STEPS - 1 + num_stages(SIDE), WIDTHS[: halvings + 1], BOTTOM)


def pixel_options(channels: int, levels: int) -> PixelOptions:
    """Return the size of the pixel network."""
    return PixelOptions(channels, HIDDEN if channels == 1 else HIDDEN_IN_COLOUR, levels, BLOCKS, SIDE, CONVOLVED)
