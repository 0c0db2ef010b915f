"""The linear prediction of a pixel from what is known around it, by least squares, before its network is trained."""

import math

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion.passes import Pass, walk
from nelbo.diffusion.pixel_decoder import features, top_place
from nelbo.diffusion.pixel_objective import PARTS
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixel_windows import (
    INPUT,
    PREDICTION_BITS,
    largest_prediction,
    neighbours,
    prediction_shape,
    windows,
)

ROWS = 60  # pixels for each weight of a pass


def fit_prediction(examples: ImageDataset, options: PixelOptions, stages: int = 1) -> Tensor:
    """Return the weights of the linear prediction of dilated windows, int32; see `nelbo.networks.pixel_windows`.

    They are those of ridge regression, for each pass: as if one more pixel of average difference were predicted by
    each weight alone. A pass without pixels, of an image smaller than a square, has weights of 0.

    Args:
        examples: those of `PixelObjective`.
        options: of the pixel network.
        stages: those of `PixelObjective`.
    """
    height, width = examples.shape[1:]
    pixels = math.ceil(height / options.side) * math.ceil(width / options.side)
    num = min(len(examples), math.ceil(ROWS * prediction_shape(options)[1] / pixels))
    chosen = examples.images(range(num))
    x, stored = chosen[:, : options.channels].long(), chosen[:, options.channels :].float() / PARTS
    center = (stored + 0.5).floor().clamp(0, top_place(options.levels)).long()
    weights = torch.zeros(prediction_shape(options), dtype=torch.int32)
    for known, now in walk((options.channels, height, width), options.side):
        stage = min(now.stage, stages - 1) * options.channels
        seen = torch.cat([center[:, stage:][:, : options.channels], center[:, stages * options.channels :]], 1)
        weights[now.number] = _weights_of(now, features(seen, x, known & (x >= 0), options.levels), seen, x, options)
    return weights


def _weights_of(now: Pass, numbers: Tensor, center: Tensor, x: Tensor, options: PixelOptions) -> Tensor:
    """Return the weights of a pass, integers, from the numbers that the network reads and the levels x (B, C, H, W)."""
    observed = now.of(x) >= 0
    seen, inside = (windows(each, now, options) for each in (numbers.float(), torch.ones(1, 1, *x.shape[2:])))
    around, steps, shift = neighbours(seen, inside, options, INPUT)
    rows = torch.cat([around, steps], 3).flatten(3)[observed].double()
    target = ((2 * now.of(x) - now.of(center)).double() - shift[..., now.channel].double())[observed]
    if not len(target):
        return torch.zeros(rows.shape[1], dtype=torch.int32)
    ridge = target.square().mean().clamp(min=1) * torch.eye(rows.shape[1], dtype=torch.float64)
    found = 2**PREDICTION_BITS * torch.linalg.solve(rows.T @ rows + ridge, rows.T @ target)
    most = largest_prediction(options) - len(found) / 2  # each weight is rounded by up to 1/2
    rounded: Tensor = (found * (most / found.abs().sum().clamp(min=most))).round().int()
    return rounded
