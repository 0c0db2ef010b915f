"""Classifier-free guidance, and the constraints on xhat_0."""

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import (
    DataPrediction,
    DynamicThreshold,
    GridPrediction,
    Guidance,
    LearnedRange,
    MeanPrediction,
    NoisePrediction,
    NoiseSchedule,
    ReverseProcess,
    VelocityPrediction,
)
from nelbo.diffusion.guidance import MOST_SCALE
from nelbo.errors import ConfigurationError

SCHEDULE = NoiseSchedule.linear(100, beta_T=0.2)


@pytest.mark.parametrize("scale", [MOST_SCALE, -MOST_SCALE])
def test_largest_scale_is_allowed(scale):
    assert Guidance(scale).scale == scale
    with pytest.raises(ConfigurationError, match="must be within"):
        Guidance(1.01 * scale)


class Labelled:
    """A network that outputs 0.1 * x_t for no class and another multiple for each class, and records its calls."""

    def __init__(self, channels: int = 1) -> None:
        self.calls: list[tuple[int, list[int]]] = []
        self.channels = channels

    def __call__(self, x_t: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        assert label is not None
        self.calls.append((len(x_t), label.tolist()))
        value = torch.where(label < 0, 0.1, 0.2 + label.double() / 10).view(-1, 1, 1, 1).to(x_t.dtype)
        return (x_t * value).repeat(1, self.channels, 1, 1)


KINDS = [NoisePrediction(), DataPrediction(), VelocityPrediction(), MeanPrediction(), GridPrediction()]


@pytest.mark.parametrize("kind", KINDS)
def test_guidance_is_linear_in_the_noise(kind):
    """eps + scale (eps_label - eps), for every parameterization."""
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(3, 1, 2, 2, dtype=torch.float64, generator=generator)
    t, label = torch.tensor([5, 50, 100]), torch.tensor([0, 1, 2])
    plain = ReverseProcess(Labelled(), SCHEDULE, kind).predict(x_t, t, torch.full_like(label, -1))
    conditional = ReverseProcess(Labelled(), SCHEDULE, kind).predict(x_t, t, label)
    for scale in (0.0, 1.0, 2.5):
        guided = ReverseProcess(Labelled(), SCHEDULE, kind, guidance=Guidance(scale)).predict(x_t, t, label)
        expected = plain.noise + scale * (conditional.noise - plain.noise)
        torch.testing.assert_close(guided.noise, expected, atol=1e-6, rtol=1e-6)


def test_guidance_doubles_batch_only_inside_interval():
    x_t, label = torch.randn(2, 1, 2, 2), torch.tensor([3, 4])
    network = Labelled()
    process = ReverseProcess(network, SCHEDULE, guidance=Guidance(2.0, first=20, last=60))
    outside = process.predict(x_t, torch.tensor([10, 61]), label)
    assert network.calls == [(2, [3, 4])]
    torch.testing.assert_close(outside.noise, x_t * torch.tensor([0.5, 0.6]).view(-1, 1, 1, 1))
    mixed = process.predict(x_t, torch.tensor([20, 61]), label)
    assert network.calls[1] == (4, [3, 4, -1, -1])
    torch.testing.assert_close(mixed.noise, x_t * torch.tensor([0.1 + 2 * 0.4, 0.6]).view(-1, 1, 1, 1))


def test_both_ends_of_the_interval_are_guided():
    guided = ReverseProcess(Labelled(), SCHEDULE, guidance=Guidance(2.0, first=20, last=60))
    x_t = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = guided.predict(x_t, torch.tensor([19, 20, 60, 61]), torch.tensor([3, 3, 3, 3]))
    inside = 0.1 + 2 * (0.5 - 0.1)
    torch.testing.assert_close(found.noise, x_t * torch.tensor([0.5, inside, inside, 0.5]).view(-1, 1, 1, 1))


def test_an_interval_of_one_step_is_guided():
    guided = ReverseProcess(Labelled(), SCHEDULE, guidance=Guidance(2.0, first=20, last=20))
    x_t = torch.randn(3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    found = guided.predict(x_t, torch.tensor([19, 20, 21]), torch.tensor([3, 3, 3]))
    torch.testing.assert_close(found.noise, x_t * torch.tensor([0.5, 0.1 + 2 * (0.5 - 0.1), 0.5]).view(-1, 1, 1, 1))


def test_guidance_keeps_variance_of_label():
    x_t, t, label = torch.randn(2, 1, 2, 2), torch.tensor([5, 50]), torch.tensor([0, 1])
    alone = ReverseProcess(Labelled(2), SCHEDULE, variance=LearnedRange()).predict(x_t, t, label)
    guided = ReverseProcess(Labelled(2), SCHEDULE, variance=LearnedRange(), guidance=Guidance(3.0)).predict(
        x_t, t, label
    )
    torch.testing.assert_close(guided.variance, alone.variance)
    assert not torch.allclose(guided.noise, alone.noise)


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), 1e39])
def test_guidance_must_be_a_number(scale: float):
    with pytest.raises(ConfigurationError, match=r"^guidance must be within"):
        Guidance(scale)
    with pytest.raises(ConfigurationError, match="must rise, got 5 to 4; change guidance_interval"):
        Guidance(1.0, first=5, last=4)


def test_dynamic_threshold_clips_at_own_quantile():
    x_0 = torch.stack([torch.linspace(-0.5, 0.5, 101), torch.linspace(-4, 4, 101)]).view(2, 1, 1, 101)
    clipped = DynamicThreshold(0.9)(x_0, torch.tensor([1, 1]))
    assert torch.equal(clipped[0], x_0[0])  # within the range, so unchanged
    limit = float(torch.quantile(x_0[1].abs(), 0.9))
    torch.testing.assert_close(clipped[1], x_0[1].clamp(-limit, limit) / limit)
    assert float(clipped.abs().max()) == pytest.approx(1.0)
    with pytest.raises(ConfigurationError, match="change threshold"):
        DynamicThreshold(0.0)


def test_limited_dynamic_threshold_ends_at_clipping():
    x_0, t = torch.linspace(-4, 4, 101).view(1, 1, 1, 101), torch.tensor([1])
    torch.testing.assert_close(DynamicThreshold(0.9, 2.0)(x_0, t), x_0.clamp(-2, 2) / 2)
    assert torch.equal(DynamicThreshold(0.9, 1.0)(x_0, t), x_0.clamp(-1, 1))
    assert torch.equal(DynamicThreshold(0.9, 9.0)(x_0, t), DynamicThreshold(0.9)(x_0, t))
    for maximum in (0.5, float("nan")):
        with pytest.raises(ConfigurationError, match="change threshold_max"):
            DynamicThreshold(0.9, maximum)


def test_constraints_recompute_the_noise():
    """Eq. 4 holds for x_t, the corrected xhat_0 and the noise."""
    x_t, t = 3 * torch.randn(4, 1, 2, 2), torch.tensor([1, 10, 50, 100])
    process = ReverseProcess(lambda x, time: 0.1 * x, SCHEDULE, constraints=(DynamicThreshold(0.8), lambda x, t: x / 2))
    prediction = process.predict(x_t, t)
    signal, stddev = SCHEDULE.at(SCHEDULE.signal, t, x_t), SCHEDULE.at(SCHEDULE.noise_stddev, t, x_t)
    torch.testing.assert_close(signal * prediction.x_0 + stddev * prediction.noise, x_t)
    assert float(prediction.x_0.abs().max()) <= 0.5 + 1e-6
