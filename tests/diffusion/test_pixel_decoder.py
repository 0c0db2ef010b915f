"""The decoder pixel by pixel: a distribution, the same in bound, draws and integers."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from nelbo.diffusion import NoiseSchedule, PixelDecoder, ReverseProcess, VariationalBound
from nelbo.diffusion.passes import CORNERS, walk
from nelbo.diffusion.pixel_decoder import evidence, features, log2_masses, mixture_of, on_grid
from nelbo.diffusion.pixel_objective import PARTS, PixelObjective, pixel_examples
from nelbo.networks import IntegerNetwork, PixelNetwork, PixelOptions
from nelbo.probability import DiscretizedGaussian, levels_to_data
from nelbo.probability.integer_tables import TOTAL


def network(
    channels: int = 1,
    levels: int = 3,
    blocks: int = 2,
    side: int = 4,
    scale: float = 0.3,
    convolved: int = 0,
    window: int = 5,
) -> PixelNetwork:
    """A network whose every output depends on its input."""
    torch.manual_seed(0)
    made = PixelNetwork(PixelOptions(channels, 6, levels, blocks, side, convolved, window))
    for layer in made.layers[1:]:
        torch.nn.init.normal_(layer.weight, std=scale / math.sqrt(layer.weight[0].numel()))
    made.round_weights()
    return made.eval().requires_grad_(False)


def decoder(made: PixelNetwork, x_0: torch.Tensor, seed: int = 5) -> PixelDecoder:
    """The decoder of a network at xhat_0 (B, C, H, W) and some x_1, the same for every example."""
    noise = torch.randn(1, *x_0.shape[1:], generator=torch.Generator().manual_seed(seed))
    return PixelDecoder(made, x_0, 0.9 * x_0 + 0.1 * noise, 0.9)


def every_image(levels: int, shape: tuple[int, int, int]) -> torch.Tensor:
    rows = list(itertools.product(range(levels), repeat=math.prod(shape)))
    return levels_to_data(torch.tensor(rows).view(-1, *shape), levels)


@pytest.mark.parametrize(
    ("blocks", "side", "convolved", "window"),
    [(0, 2, 0, 5), (2, 4, 0, 5), (1, 2, 0, 5), (2, 2, 1, 5), (2, 2, 0, 7), (1, 8, 1, 9)],
)
@pytest.mark.parametrize(("levels", "shape"), [(3, (1, 2, 3)), (2, (3, 1, 2)), (5, (1, 2, 2))])
def test_masses_of_all_images_sum_to_one(levels, shape, blocks, side, convolved, window):
    images = every_image(levels, shape)
    x_0 = 0.3 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(1)).expand(len(images), -1, -1, -1)
    made = network(shape[0], levels, blocks, side, convolved=convolved, window=window)
    log_prob = decoder(made, x_0).log_prob(images).double()
    assert float(log_prob.flatten(1).sum(1).exp().sum()) == pytest.approx(1, abs=2e-5)


@pytest.mark.parametrize(("side", "window"), [(4, 5), (8, 9)])
def test_draws_follow_the_masses(side, window):
    """Chi-square over all 81 images of a 1 x 2 x 2 grid of 3 levels; false alarm rate 1e-4, fixed seed."""
    images, num = every_image(3, (1, 2, 2)), 20_000
    x_0 = torch.tensor([-0.4, 0.1, 0.3, 0.9]).view(1, 1, 2, 2)
    made = network(levels=3, side=side, window=window)
    masses = decoder(made, x_0.expand(81, -1, -1, -1)).log_prob(images).double().flatten(1).sum(1).exp()
    generator = torch.Generator().manual_seed(2)
    drawn = decoder(made, x_0.expand(num, -1, -1, -1)).sample(generator)
    index = ((drawn + 1).round().long().flatten(1) * torch.tensor([27, 9, 3, 1])).sum(1)
    counts = torch.bincount(index, minlength=81).double()
    expected = masses / masses.sum() * num
    assert float(expected.min()) > 5
    assert chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-4


def test_draws_without_the_floor_follow_the_rest_of_the_masses():
    """One pixel of 256 levels: chi-square over levels expected 5 times or more; false alarm rate 1e-4, fixed seed."""
    num, levels = 100_000, 256
    x_0 = torch.full((1, 1, 1, 1), -0.4)
    made = network(levels=levels)
    images = levels_to_data(torch.arange(levels).view(-1, 1, 1, 1), levels)
    masses = decoder(made, x_0.expand(levels, -1, -1, -1)).log_prob(images).double().flatten().exp()
    rest = (masses - 1 / TOTAL).clamp(min=0) / (1 - levels / TOTAL)
    many = decoder(made, x_0.expand(num, -1, -1, -1))
    with_floor, without = (
        ((many.sample(torch.Generator().manual_seed(2), floor=floor) + 1) * 127.5).round().long().flatten()
        for floor in (True, False)
    )
    counts, expected = torch.bincount(without, minlength=levels).double(), rest * num
    seen = expected >= 5
    assert float(counts[~seen].sum()) < 5 * float(expected[~seen].sum()) + 20
    scaled = expected[seen] * counts[seen].sum() / expected[seen].sum()
    assert chisquare(counts[seen].numpy(), scaled.numpy()).pvalue > 1e-4
    changed = float((with_floor != without).double().mean())
    assert changed == pytest.approx(levels / TOTAL, abs=5 * math.sqrt(levels / TOTAL / num))


def test_draws_depend_on_their_own_generator():
    made = decoder(network(levels=17), torch.zeros(3, 1, 5, 6))
    drawn = made.sample([torch.Generator().manual_seed(seed) for seed in (3, 4, 3)])
    assert torch.equal(drawn[0], drawn[2])
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(
    ("levels", "convolved", "side", "window"), [(17, 0, 4, 5), (256, 0, 4, 5), (256, 1, 4, 5), (256, 0, 8, 9)]
)
def test_masses_are_those_that_the_codec_sends(levels, convolved, side, window):
    made, shape = network(1, levels, side=side, scale=1.0, convolved=convolved, window=window), (1, 8, 8)
    whole, generator = IntegerNetwork.of(made), torch.Generator().manual_seed(1)
    x = torch.randint(levels, (4, *shape), generator=generator)
    x_0 = levels_to_data(x, levels) + 0.05 * torch.randn(4, *shape, generator=generator)
    given = decoder(made, x_0)
    bits = torch.zeros(4, *shape, dtype=torch.float64)
    for known, now in walk(shape, side):
        mixture, chosen = mixture_of(whole, given.center, x, known, now)
        value = x[chosen].numpy()[:, None]
        mass = (mixture.cumulative(value + 1) - mixture.cumulative(value))[:, 0] / TOTAL
        bits[chosen] = torch.from_numpy(-np.log2(mass))
    reported = -given.log_prob(levels_to_data(x, levels)).double() / math.log(2)
    assert float((bits - reported).abs().mean()) < 0.01  # a step of the table of exp is 0.006 bits
    assert float((bits - reported).mean().abs()) < 2e-3


@pytest.mark.parametrize("convolved", [0, 1])
def test_pass_reads_no_later_pixel(convolved):
    made, shape, levels = network(levels=17, convolved=convolved), (1, 8, 8), 17
    x = torch.randint(levels, (1, *shape), generator=torch.Generator().manual_seed(1))
    x_0 = levels_to_data(x, levels)
    before = decoder(made, x_0).log_prob(levels_to_data(x, levels))
    known, now = list(walk(shape, 4))[9]
    new = now.mask(shape)
    changed = torch.where(known | new, x, (x + 5) % levels)
    after = decoder(made, x_0).log_prob(levels_to_data(changed, levels))
    assert torch.equal(before[0][known | new], after[0][known | new])
    earlier = torch.where(known, (x + 5) % levels, x)
    assert not torch.equal(before[0][new], decoder(made, x_0).log_prob(levels_to_data(earlier, levels))[0][new])


@pytest.mark.parametrize(("convolved", "reach"), [(0, 2), (1, 6)])
def test_convolved_block_reads_the_windows_of_the_neighbours(convolved, reach):
    """The first pass in squares of side 4: xhat_0 matters within 2 pixels of a pixel, or within 4 more."""
    made, shape = network(levels=17, convolved=convolved, scale=3.0), (1, 13, 13)
    x_0, now = torch.zeros(1, *shape), next(walk(shape, 4))[1]
    before = decoder(made, x_0).log_prob(x_0)
    for distance in range(9):
        changed = x_0.clone()
        changed[..., 4, 4 + distance] = 1
        after = PixelDecoder(made, changed, decoder(made, x_0).x_1, 0.9).log_prob(x_0)
        of_pass = now.of(after)[0, 1, 1], now.of(before)[0, 1, 1]
        assert torch.equal(*of_pass) is (distance > reach)


@pytest.mark.parametrize(("blocks", "reads"), [(0, False), (2, True)])
def test_network_with_blocks_reads_x_1(blocks, reads):
    x_0 = levels_to_data(torch.arange(16).view(1, 1, 4, 4), 17)
    made = network(levels=17, blocks=blocks, scale=3.0)
    first, second = (decoder(made, x_0, seed).log_prob(x_0) for seed in (5, 6))
    assert torch.equal(first, second) is not reads


def test_features_by_hand():
    """Four pixels at levels 0, 2, 4, 4 of 5; the last one is unknown."""
    x, known = torch.tensor([0, 2, 4, 4]).view(1, 1, 2, 2), torch.tensor([[[True, True], [True, False]]])
    center = torch.stack([torch.tensor([1, 4, 6, 8]), torch.tensor([-1, 5, 6, 9])]).view(1, 2, 2, 2)
    expected = [[-3, 0, 2, 4], [-2, 1, 0, 1], [-1, 0, 2, 0], [64, 64, 64, 0], [64, 0, 0, 0], [0, 0, 64, 0]]
    assert features(center, x, known, 5).flatten(2)[0].tolist() == expected
    assert features(center[:, :1], x, known, 5).flatten(2)[0].tolist() == [expected[i] for i in (0, 2, 3)]


@pytest.mark.parametrize("side", CORNERS)
def test_walk_covers_every_pixel_once(side):
    seen = torch.zeros(2, 5, 7, dtype=torch.int64)
    for known, now in walk((2, 5, 7), side):
        assert torch.equal(known, seen > 0)
        now.of(seen)[:] += 1
    assert torch.equal(seen, torch.ones_like(seen))


def test_bound_uses_the_pixel_decoder():
    schedule = NoiseSchedule.log_linear(4, log_snr_max=4.0, log_snr_min=-8.0)
    made, x_0 = network(levels=17), levels_to_data(torch.arange(16).view(1, 1, 4, 4), 17)
    plain = ReverseProcess(lambda x_t, t: torch.zeros_like(x_t), schedule, levels=17, clip=True)
    pixels = ReverseProcess(plain.network, schedule, levels=17, clip=True, pixels=made)
    noise = torch.randn(x_0.shape, generator=torch.Generator().manual_seed(0))
    t = torch.ones(1, dtype=torch.int64)
    x_1 = pixels.forward_process.sample(x_0, t, noise)
    expected = -PixelDecoder(made, pixels.predict(x_1, t).x_0, x_1, float(schedule.signal[1])).log_prob(x_0).sum()
    assert float(VariationalBound(pixels).decoder(x_0, noise)) == pytest.approx(float(expected), rel=1e-6)
    assert isinstance(plain.decoder(x_1), DiscretizedGaussian)
    ours, theirs = (VariationalBound(each).terms(x_0, torch.Generator().manual_seed(0)) for each in (pixels, plain))
    assert torch.equal(ours.denoising, theirs.denoising)
    assert not torch.equal(ours.decoder, theirs.decoder)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 5, 6), (3, 1, 1), (3, 2, 9), (1, 4, 1)])
@pytest.mark.parametrize(("side", "window"), [(4, 5), (8, 7)])
def test_training_estimates_the_whole_bound(shape, side, window):
    """The mean over all first passes is L_0 by all passes, also where passes differ in size or are empty."""
    levels, made = 5, network(shape[0], 5, side=side, window=window)
    generator = torch.Generator().manual_seed(4)
    images = torch.randint(0, levels, (3, *shape), generator=generator)
    seen = torch.randint(-20, 9 * PARTS, (3, 2 * shape[0], *shape[1:]), generator=generator)
    examples = torch.cat([images, seen], 1).to(torch.int16)
    objective = PixelObjective(made.options)
    center = (seen / PARTS).add(0.3).floor().clamp(0, 8).long()
    nats, num_passes = torch.zeros(3), 0
    for known, now in walk(shape, side):
        if now.of(images).numel():
            log2 = log2_masses(
                made(features(center, images, known, levels).float(), now),
                now.of(center).float(),
                now.of(images).float(),
                levels,
            )
            nats -= math.log(2) * log2.flatten(1).sum(1)
            num_passes += 1
    every = max(num_passes // objective.num_draws, 1)
    firsts = [torch.full((3,), (k + 0.5) / every) for k in range(every)]
    found = [objective(made, examples, None, {"offset": torch.full((3,), 0.3), "first": k}).loss for k in firsts]
    torch.testing.assert_close(torch.stack(found).mean(0), nats / math.prod(shape))


def test_examples_hold_the_evidence_of_the_bound():
    """Rounded, it is the evidence that `PixelDecoder` rounds, up to 1/64 of a half level."""
    made = network(1, 17)
    schedule = NoiseSchedule.log_linear(4, 4.0, -8.0)
    reverse = ReverseProcess(lambda x_t, t, label=None: 0.1 * x_t, schedule, levels=17)
    images = torch.randint(0, 17, (3, 1, 5, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    noise = torch.randn(3, 1, 5, 6, generator=torch.Generator().manual_seed(1))
    examples = pixel_examples(reverse, made.options, images, noise)
    assert examples.dtype == torch.int16 and torch.equal(examples[:, :1], images.to(torch.int16))
    t = torch.ones(3, dtype=torch.int64)
    x_1 = reverse.forward_process.sample(levels_to_data(images, 17), t, noise)
    signal = float(reverse.schedule.signal[1])
    seen = evidence(made.options, reverse.predict(x_1, t).x_0, x_1, signal)
    assert float((examples[:, 1:] / PARTS - on_grid(seen, 17)).abs().max()) <= 0.51 / PARTS
