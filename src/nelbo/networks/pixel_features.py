"""What a network sees of an image: its pixels, features of them, and what it is conditioned on."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.errors import ShapeError
from nelbo.networks.conditioning import planes_beside
from nelbo.networks.image_options import ImageOptions

FLATTEST = 1e-12  # smallest mean square of the differences to divide by: flat images stay flat


def unit_slopes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences to the left and to the upper neighbour, (B, C, H, W) each, 0 at the edge.

    All differences of an image are divided by one number, such that their mean square is 1. Neighbouring pixels of a
    photograph differ by only a few levels, and without these features a network takes long to learn to see that.
    """
    across = F.pad(x[..., 1:] - x[..., :-1], (1, 0))
    down = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 1, 0))
    power = (across.square() + down.square()).flatten(1).mean(1).clamp(min=FLATTEST) / 2
    unit = power.rsqrt().view(-1, 1, 1, 1)
    return unit * across, unit * down


def pixel_features(x: Tensor, fourier: Sequence[int] = (), slopes: Sequence[int] = ()) -> Tensor:
    """Return the image (B, C, H, W) and the features of `fourier` and `slopes`, concatenated along the channels."""
    angles = [2.0**exponent * math.pi * x for exponent in fourier]
    waves = [*(angle.sin() for angle in angles), *(angle.cos() for angle in angles)]
    units = unit_slopes(x) if slopes else ()
    bent = [(2.0**exponent * unit).tanh() for exponent in slopes for unit in units]
    return torch.cat([x, *waves, *bent], dim=1) if waves or bent else x


def input_features(x_t: Tensor, given: ConditionLike | None, options: ImageOptions) -> Tensor:
    """Return the input of a network for images, (B, num_features, H', W'); call it without autocast.

    It is x_t (B, C, H, W) with its features, then what joins it (see `planes_beside`). The right and the bottom are
    padded with zeros, which depend on nothing, to the sides H' and W' that the network can divide.

    Raises:
        ShapeError: the images have another number of channels, or what joins them another shape.
        ConfigurationError: a mask or an image for a network that takes none.
    """
    if x_t.ndim != 4 or x_t.shape[1] != options.channels:
        raise ShapeError(
            f"the network was given a tensor of shape {tuple(x_t.shape)}, but expects "
            f"(batch, {options.channels}, height, width)."
        )
    seen = pixel_features(x_t, options.fourier, options.slopes)
    planes = planes_beside(x_t, given, options.masked, options.condition_channels)
    features = torch.cat([seen, *planes], dim=1) if planes else seen
    below, right = (options.padded(side) - side for side in x_t.shape[2:])
    return F.pad(features, (0, right, 0, below)) if below or right else features
