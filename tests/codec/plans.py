"""A codec plan of random numbers, to test the grammar and the stored plan without a trained model."""

import torch

from nelbo.codec import CodecPlan
from nelbo.codec.channel_plan import BUCKETS, SURPRISES
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixel_windows import prediction_shape
from nelbo.networks.pixels import IntegerNetwork, weight_shapes


def random_plan(
    shape: tuple[int, int, int] = (1, 4, 5),
    levels: int = 17,
    num_steps: int = 9,
    options: PixelOptions | None = None,
) -> CodecPlan:
    """Return a plan of two steps for images (C, H, W), by default with the plain network; T is `num_steps`."""
    generator = torch.Generator().manual_seed(0)

    def integers(low: int, high: int, *size: int) -> torch.Tensor:
        return torch.randint(low, high, size, generator=generator)

    options = options or PixelOptions(shape[0], 6, levels)
    weights, biases = [], []
    for size in weight_shapes(options):
        weights.append(integers(-900, 900, *size).double())
        biases.append(integers(-900, 900, size[0]).double())
    expected = integers(0, 900, 2, shape[0] * shape[1] * shape[2])
    index_counts, number_counts = integers(1, 90, BUCKETS), integers(1, 90, SURPRISES)
    prediction = integers(-90, 90, *prediction_shape(options)).int() if options.dilated else None
    pixels = IntegerNetwork(options, weights, biases, prediction)
    steps = torch.tensor([2, 5, num_steps])
    return CodecPlan(
        steps=steps, expected=expected, index_counts=index_counts, number_counts=number_counts, pixels=pixels
    )
