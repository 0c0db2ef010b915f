"""Interpolation between two images in x_t (fig. 8)."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import NoiseSchedule, ReverseProcess
from nelbo.samplers import AncestralSampler, interpolations
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()
STRIDE = LINEAR.strided(10)
REVERSE = ReverseProcess(GaussianData(0.1, 0.3).network(LINEAR), STRIDE)
WEIGHTS = torch.tensor([0.0, 0.25, 0.5, 1.0])


def images(num: int = 2, side: int = 5) -> Tensor:
    return torch.rand(num, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


@dataclass(frozen=True)
class Watched(AncestralSampler):
    """Records the start of each walk."""

    starts: list[tuple[int, Tensor]] = field(default_factory=list)

    def walk(self, x_t, t, generator, label=None):
        self.starts.append((t, x_t))
        return super().walk(x_t, t, generator, label)


@pytest.mark.parametrize("step", [1, 3, 6])
def test_ends_equal_each_image_alone(step: int):
    first, second = images()
    walker = AncestralSampler(REVERSE)
    (way,) = interpolations(walker, torch.stack([first, second]), WEIGHTS, [step], 4)
    for place, alone in ((0, first), (-1, second)):
        (still,) = interpolations(walker, torch.stack([alone, alone]), WEIGHTS, [step], 4)
        torch.testing.assert_close(still.x_0, still.x_0[:1].expand_as(still.x_0), rtol=0, atol=1e-6)
        torch.testing.assert_close(way.x_0[place], still.x_0[place], rtol=0, atol=1e-6)
    assert float((way.x_0[0] - way.x_0[-1]).abs().max()) > 1e-3


def test_step_0_blends_pixels_without_the_network():
    def network(x_t, time):
        raise AssertionError("the network was called")

    pair = images()
    (way,) = interpolations(AncestralSampler(ReverseProcess(network, STRIDE)), pair, WEIGHTS, [0], 0)
    w = WEIGHTS.view(-1, 1, 1, 1)
    assert way.t == 0
    torch.testing.assert_close(way.x_0, (1 - w) * pair[0] + w * pair[1])


def test_blended_latents_share_one_noise():
    """At every weight, the noise has the variance of that of an x_t: 4,900 pixels, |z| < 4.5."""
    walker, pair = Watched(REVERSE), images(side=70)
    ways = list(interpolations(walker, pair, WEIGHTS, [9, 3], 2))
    assert [way.t for way in ways] == [900, 300] and [step for step, _ in walker.starts] == [9, 3]
    w = WEIGHTS.view(-1, 1, 1, 1)
    blend = (1 - w) * pair[0] + w * pair[1]
    noises = [(x_t - STRIDE.signal[t] * blend) / STRIDE.noise_stddev[t] for t, x_t in walker.starts]
    reference = noises[0][:1].expand_as(blend)
    for noise in noises:
        torch.testing.assert_close(noise, reference, rtol=0, atol=1e-4)
    assert abs(float(reference[0].var()) - 1) < 4.5 * (2 / 4900) ** 0.5


def test_seeds_give_different_images():
    walker = AncestralSampler(REVERSE)
    one, two = (next(interpolations(walker, images(), WEIGHTS, [8], seed)).x_0 for seed in (0, 1))
    assert float((one - two).abs().max()) > 1e-2
