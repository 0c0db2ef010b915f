"""The lossless end: exact integers, tables that are distributions, and rounding that small errors cannot change."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from nelbo.codec.grid import OFFSETS, rounded, safe_offset
from nelbo.diffusion.passes import passes, walk
from nelbo.diffusion.pixel_decoder import features, log2_masses
from nelbo.networks.pixel_options import WINDOW, PixelOptions
from nelbo.networks.pixels import COMPONENTS, IntegerNetwork, PixelNetwork, weight_shapes
from nelbo.probability.integer_tables import TOTAL
from nelbo.probability.logistic import LogisticMixture


def network(channels: int = 1, levels: int = 256) -> PixelNetwork:
    torch.manual_seed(0)
    made = PixelNetwork(PixelOptions(channels, 12, levels))
    torch.nn.init.normal_(made.layers[-1].weight, std=0.2)
    return made


def inputs(channels: int = 1, levels: int = 256, side: int = 8):
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, levels, (3, channels, side, side), generator=generator)
    center = (2 * x + torch.randint(-9, 10, x.shape, generator=generator)).clamp(0, 2 * (levels - 1))
    return center, x


@pytest.mark.parametrize("channels", [1, 3])
def test_passes_cover_every_pixel_once(channels):
    shape = (channels, 5, 6)
    assert torch.equal(sum(each.mask(shape).int() for each in passes(channels)), torch.ones(shape).int())
    for known, now in walk(shape):
        assert not now.of(known).any()
    assert (known | now.mask(shape)).all()


@pytest.mark.parametrize("levels", [17, 256])
def test_tables_give_every_level_a_mass(levels):
    center, x = inputs(levels=levels)
    output = IntegerNetwork.of(network(levels=levels)).everywhere(
        features(center, x, torch.zeros(1, 8, 8, dtype=torch.bool), levels)
    )
    rows = torch.from_numpy(output).permute(0, 1, 4, 5, 2, 3).reshape(-1, 3, COMPONENTS).numpy()
    tables = LogisticMixture.read(rows, center.flatten().numpy(), levels).tables()
    assert (tables[:, 0] == 0).all() and (tables[:, -1] == TOTAL).all()
    assert np.diff(tables, axis=1).min() >= 1


def test_extreme_outputs_still_give_tables():
    generator = np.random.default_rng(0)
    rows = generator.integers(-(2**20), 2**20, (500, 3, COMPONENTS))
    tables = LogisticMixture.read(rows, generator.integers(0, 511, 500), 256).tables()
    assert np.diff(tables, axis=1).min() >= 1 and (tables[:, -1] == TOTAL).all()


def test_integer_network_matches_the_float_network():
    made, (center, x) = network(), inputs()
    known = passes(1)[0].mask((1, 8, 8))
    numbers = features(center, x, known, 256)
    floats, whole = (
        made.everywhere(numbers.float()).detach(),
        torch.from_numpy(IntegerNetwork.of(made).everywhere(numbers)),
    )
    assert float((floats - whole / 256).abs().max()) < 0.1
    rows = whole.permute(0, 1, 4, 5, 2, 3).reshape(-1, 3, COMPONENTS).numpy()
    mixture = LogisticMixture.read(rows, center.flatten().numpy(), 256)
    value = x.flatten().numpy()[:, None]
    bits = np.log2((mixture.cumulative(value + 1) - mixture.cumulative(value))[:, 0] / TOTAL)
    expected = log2_masses(floats, center.float(), x.float(), 256).flatten().numpy()
    assert np.abs(bits - expected).mean() < 0.08


@pytest.mark.parametrize("levels", [2, 17, 256])
def test_masses_in_training_sum_to_one(levels):
    made, (center, _) = network(levels=levels), inputs(levels=levels)
    output = made.everywhere(features(center, center, torch.zeros(1, 8, 8, dtype=torch.bool), levels).float()).detach()
    masses = [
        log2_masses(output, center.float(), torch.full_like(output[:, :, 0, 0], k), levels).exp2()
        for k in range(levels)
    ]
    assert torch.stack(masses).double().sum(0).numpy() == pytest.approx(1, abs=1e-5)


def test_integer_network_ignores_the_order_of_sums():
    made, (center, x) = IntegerNetwork.of(network()), inputs(side=32)
    numbers = features(center, x, torch.zeros(1, 32, 32, dtype=torch.bool), 256)
    whole = made.everywhere(numbers)
    alone = np.concatenate([made.everywhere(numbers[i : i + 1]) for i in range(len(numbers))])
    assert np.array_equal(whole, alone)
    # a permutation of the hidden features changes only the order of every sum
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    weights = [made.weights[0][order], made.weights[1][order][:, order], made.weights[2][:, order]]
    biases = [made.biases[0][order], made.biases[1][order], made.biases[2]]
    assert np.array_equal(IntegerNetwork(made.options, weights, biases).everywhere(numbers), whole)
    largest = max(float(w.abs().flatten(1).sum(1).max()) for w in weights) * 2**14
    assert largest < 2**53


def test_rounding_survives_errors_below_the_margin():
    generator = torch.Generator().manual_seed(0)
    values, margin = torch.rand(60, generator=generator, dtype=torch.float64) * 30, 0.004
    offset = safe_offset(values, margin, 0, 30)
    assert offset is not None
    for _ in range(20):
        noise = (2 * torch.rand(60, generator=generator, dtype=torch.float64) - 1) * margin
        assert torch.equal(rounded(values + noise, offset).clamp(0, 30), rounded(values, offset).clamp(0, 30))
    assert float((rounded(values, offset) - values).abs().max()) <= 1.5


def test_no_offset_is_safe_for_crowded_or_nan_values():
    crowded = torch.arange(0, 1, 1 / (4 * OFFSETS), dtype=torch.float64)
    assert safe_offset(crowded, 0.002, -5, 5) is None
    assert safe_offset(torch.tensor([math.nan]), 0.002, 0, 5) is None


def test_edges_outside_the_range_do_not_count():
    assert safe_offset(torch.tensor([-0.5, -0.49, -3.0], dtype=torch.float64), 0.1, 0, 5) == 0


@pytest.mark.parametrize("side", [2, 4])
@pytest.mark.parametrize("shape", [(2, 7, 9), (1, 8, 8), (1, 1, 5)])
def test_windows_are_centred_on_the_pixels_of_the_pass(shape, side):
    """A first layer that copies the middle of its window returns the pixels of the pass themselves."""
    options = PixelOptions(shape[0], 1, blocks=1, side=side)
    weights = [torch.zeros(size).double() for size in weight_shapes(options)]
    weights[0][0, WINDOW**2 // 2] = weights[-1][:] = 1 << 12
    network = IntegerNetwork(options, weights, [torch.zeros(len(weight)).double() for weight in weights])
    first = torch.randint(1, 90, (2, 1, *shape[1:]), generator=torch.Generator().manual_seed(0))
    numbers = torch.cat([first, torch.zeros(2, options.inputs - 1, *shape[1:], dtype=torch.int64)], 1)
    for now in passes(shape[0], side):
        expected = 4 * replace(now, channel=0).of(numbers).numpy()  # 1 is 64 in the input and 256 behind it
        output = network(numbers, now)
        assert output.shape == (2, 3, COMPONENTS, *expected.shape[1:])
        assert (output == expected[:, None, None]).all()


def test_plain_network_gives_a_pass_what_it_gives_everywhere():
    made, (center, x) = IntegerNetwork.of(network(3)), inputs(3)
    numbers = features(center, x, torch.zeros(1, 8, 8, dtype=torch.bool), 256)
    whole = made.everywhere(numbers)
    for now in passes(3):
        assert np.array_equal(made(numbers, now), whole[:, now.channel, :, :, now.row :: 2, now.column :: 2])


def test_hidden_values_are_limited():
    """One pixel of 300 levels above its xhat_0 drives a hidden value past the limit of 2^14 / 2^8 = 64."""
    options = PixelOptions(1, 1, 256)
    weights = [torch.zeros(1, 3, 5, 5), torch.zeros(1, 1, 3, 3), torch.zeros(3 * COMPONENTS, 1, 1, 1)]
    weights[0][0, 1, 2, 2] = weights[1][0, 0, 1, 1] = 1 << 20
    weights[2][:] = 1 << 12
    biases = [torch.zeros(len(weight)).double() for weight in weights]
    network = IntegerNetwork(options, [weight.double() for weight in weights], biases)
    output = network.everywhere(torch.full((1, 3, 4, 4), 255))
    assert (output == 1 << 14).all()
