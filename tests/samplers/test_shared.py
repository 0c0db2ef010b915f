"""Draws that share an x_t (fig. 7): for Gaussian data their variance is known."""

import math

import torch
from torch import Tensor

from nelbo.diffusion import Calibrated, NoisePrediction, NoiseSchedule, ReverseProcess
from nelbo.randomness import image_generators
from nelbo.samplers import AncestralSampler, shared_latents
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()
STRIDE = LINEAR.strided(20)
DATA = GaussianData(0.3, 0.25)
WALKER = AncestralSampler(ReverseProcess(DATA.network(LINEAR), STRIDE, NoisePrediction(), Calibrated(DATA.mse(LINEAR))))


def test_latents_come_from_one_walk():
    path = {s.t: s for s in WALKER.trajectory((1, 1, 4, 4), image_generators(6, 0, 1))}
    found = list(shared_latents(WALKER, (1, 4, 4), {3, 20, 11}, 2, 6))
    assert [latent.t for latent in found] == [1000, 550, 150]
    for step, latent in zip((20, 11, 3), found, strict=True):
        assert torch.equal(latent.x_t, path[step].x_t) and torch.equal(latent.x_0, path[step].x_0)
        assert latent.samples.shape == (2, 1, 4, 4)


def test_draws_have_the_posterior_variance():
    """Var[x_0|x_t] - Var[x_0|x_1] over 64 pixels of 200 draws, |z| < 4.5: one false alarm in 100,000 seeds."""
    mse = DATA.mse(STRIDE)
    for step, latent in zip((20, 8, 2), shared_latents(WALKER, (1, 8, 8), {2, 8, 20}, 200, 0), strict=True):
        seen = float(latent.samples.double().var(0).mean())
        expected = float(mse[step] - mse[1])
        assert abs(seen / expected - 1) < 4.5 * math.sqrt(2 / (64 * 199))
    assert float(mse[20] - mse[1]) > 4 * float(mse[2] - mse[1])  # it falls along the walk


def test_draws_at_the_last_step_are_equal():
    (latent,) = shared_latents(WALKER, (1, 4, 4), {1}, 5, 0)
    torch.testing.assert_close(latent.samples, latent.x_0.expand(5, 1, 4, 4), rtol=0, atol=1e-6)


def test_draw_depends_on_its_own_seed_only():
    few = list(shared_latents(WALKER, (1, 4, 4), {15}, 3, 1))
    many = list(shared_latents(WALKER, (1, 4, 4), {4, 15, 19}, 5, 1))
    torch.testing.assert_close(few[0].samples, many[1].samples[:3], rtol=0, atol=1e-6)
    other = list(shared_latents(WALKER, (1, 4, 4), {15}, 3, 2))
    assert float((few[0].samples - other[0].samples).abs().max()) > 0.1


def test_label_reaches_every_draw():
    seen = []

    def network(x_t: Tensor, time: Tensor, label: Tensor) -> Tensor:
        seen.append(label.tolist())
        return x_t

    walker = AncestralSampler(ReverseProcess(network, LINEAR.strided(2)))
    list(shared_latents(walker, (1, 2, 2), {1}, 3, 0, torch.tensor([7])))
    assert seen == [[7], [7], [7, 7, 7]]
