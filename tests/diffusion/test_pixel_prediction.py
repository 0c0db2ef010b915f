"""The linear prediction of pixels: by least squares, on images that a line predicts, and within exact sums."""

import numpy as np
import pytest
import torch
from torch import Tensor

from nelbo.diffusion.passes import walk
from nelbo.diffusion.pixel_decoder import features
from nelbo.diffusion.pixel_objective import PARTS
from nelbo.diffusion.pixel_prediction import fit_prediction
from nelbo.networks import PixelOptions
from nelbo.networks.pixel_windows import INPUT, check_prediction, neighbours, relative, windows
from nelbo.studies.decoder_examples import DecoderExamples

OPTIONS = PixelOptions(channels=1, hidden=4, levels=256, blocks=1, side=8, window=7)


def examples(images: Tensor, center: Tensor | None = None) -> DecoderExamples:
    """Return examples of images (N, 1, H, W), whose xhat_0 and x_1 are in the middle by default; -1 is missing."""
    if center is None:
        center = torch.full((len(images), 2, *images.shape[2:]), 255)
    return DecoderExamples(torch.cat([images, PARTS * center], 1).short(), 256)


def planes(num: int) -> Tensor:
    """Return images (num, 1, 40, 48) whose levels are a linear function of row and column."""
    generator = torch.Generator().manual_seed(0)
    slopes = torch.rand(num, 2, 1, 1, generator=generator) * 4 - 2
    rows, columns = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(48) - 23.5, indexing="ij")
    return (128 + slopes[:, :1] * rows + slopes[:, 1:] * columns).round()


def errors(images: Tensor, weights: Tensor, number: int, center: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return how far the pixels of a pass are from the prediction and from the mean of their neighbours, in levels."""
    known, now = list(walk((1, *images.shape[2:]), OPTIONS.side))[number]
    if center is None:
        center = torch.full((len(images), 2, *images.shape[2:]), 255)
    seen = windows(features(center, images.long(), known, 256).float(), now, OPTIONS)
    inside = windows(torch.ones(1, 1, *images.shape[2:]), now, OPTIONS)
    shifts = [relative(seen, inside, now, OPTIONS, INPUT, each)[1] for each in (weights, torch.zeros_like(weights))]
    found = [now.of(images) - (now.of(center) + shift) / 2 for shift in shifts]
    return found[0], found[1]


def test_images_that_a_line_predicts_are_predicted():
    weights = fit_prediction(examples(planes(300)), OPTIONS)
    images = planes(330)[300:]
    found = [errors(images, weights, number) for number in range(4, 64)]
    predicted, mean = (torch.stack([each[i].square().mean() for each in found]).sqrt() for i in (0, 1))
    assert float(predicted.max()) < 0.45 and float(mean.max()) > 1.4  # levels and predictions are rounded: 0.35


def test_weights_are_those_of_least_squares():
    """By `numpy.linalg.lstsq`, with the ridge as further rows."""
    images = planes(40) + torch.randint(-9, 10, (40, 1, 40, 48), generator=torch.Generator().manual_seed(1))
    images = images.clamp(0, 255)
    images[:, :, 3:6, 7:20] = -1
    center = torch.randint(200, 300, (40, 2, 40, 48), generator=torch.Generator().manual_seed(2))
    weights = fit_prediction(examples(images, center), OPTIONS)
    known, now = list(walk((1, 40, 48), OPTIONS.side))[50]
    numbers = features(center, images.long(), known & (images >= 0), 256)
    inside = windows(torch.ones(1, 1, 40, 48), now, OPTIONS)
    around, steps, shift = neighbours(windows(numbers.float(), now, OPTIONS), inside, OPTIONS, INPUT)
    seen = now.of(images) >= 0
    rows = torch.cat([around, steps], 3).flatten(3)[seen].double().numpy()
    target = (2 * now.of(images) - center[:, 0][:, now.row :: 8, now.column :: 8] - shift[..., 0])[seen].numpy()
    ridge = np.sqrt(np.mean(target**2)) * np.eye(rows.shape[1])
    expected = np.linalg.lstsq(np.vstack([rows, ridge]), np.concatenate([target, np.zeros(rows.shape[1])]))[0]
    assert np.abs(weights[50].numpy() / 4096 - expected).max() < 1 / 4096
    assert float(np.abs(expected[:49]).max()) > 0.1 and float(np.abs(expected[49:]).max()) > 0.1


def test_values_are_predicted_whatever_xhat_0_is():
    """Noise in xhat_0 changes what the values around differ from, and the prediction knows it."""
    generator = torch.Generator().manual_seed(4)
    center = torch.randint(200, 300, (330, 2, 40, 48), generator=generator)
    images = planes(330)
    weights = fit_prediction(examples(images[:300], center[:300]), OPTIONS)
    predicted, mean = errors(images[300:], weights, 63, center[300:])
    assert float(predicted.square().mean().sqrt()) < 1 < 5 < float(mean.square().mean().sqrt())


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (8, 8)])
def test_weights_of_noise_and_of_small_images_stay_exact(shape):
    images = 255 * torch.randint(0, 2, (20, 1, *shape), generator=torch.Generator().manual_seed(0))
    weights = fit_prediction(examples(images.float()), OPTIONS)
    check_prediction(weights, OPTIONS)
    assert bool((weights[:1] == 0).all())  # nothing is known before the first pass
