"""The reverse process p_theta: eq. 11, clipping, and the call of the network."""

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import (
    DataPrediction,
    FixedSmall,
    ForwardProcess,
    LearnedRange,
    MeanPrediction,
    NoiseSchedule,
    ReverseProcess,
    VelocityPrediction,
)
from nelbo.errors import ShapeError
from tests.diffusion.oracle import GaussianData

LINEAR = NoiseSchedule.linear()


def wavy(x_t: Tensor, time: Tensor) -> Tensor:
    """A network whose output has the magnitude of noise."""
    return 1.5 * torch.sin(3 * x_t + time.reshape(-1, *[1] * (x_t.ndim - 1)))


def every(schedule: NoiseSchedule) -> tuple[Tensor, Tensor]:
    t = torch.arange(1, schedule.num_steps + 1)
    return t, torch.randn(len(t), 2, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("schedule", [LINEAR, LINEAR.strided(17), NoiseSchedule.cosine(99)])
def test_mean_of_noise_prediction_is_equation_11(schedule: NoiseSchedule):
    t, x_t = every(schedule)
    abar, before = (schedule.alphas_bar[k].reshape(-1, 1, 1, 1) for k in (t, t - 1))
    alpha = abar / before
    noise = wavy(x_t, schedule.timesteps[t])
    expected = (x_t - (1 - alpha) / (1 - abar).sqrt() * noise) / alpha.sqrt()
    transition = ReverseProcess(wavy, schedule, variance=FixedSmall()).transition(x_t, t)
    torch.testing.assert_close(transition.mean, expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(transition.variance[1:, 0, 0, 0], schedule.posterior_variance[2:])


def test_mean_of_mean_prediction_is_output():
    t, x_t = every(LINEAR)
    transition = ReverseProcess(wavy, LINEAR, MeanPrediction()).transition(x_t, t)
    torch.testing.assert_close(transition.mean, wavy(x_t, t), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [DataPrediction(), VelocityPrediction(), MeanPrediction()])
def test_equivalent_predictions_give_one_transition(kind):
    """The exact network of Gaussian data gives the same p_theta as a noise prediction and as `kind`."""
    t, x_t = every(LINEAR)
    noise = GaussianData(0.1, 0.3).network(LINEAR)
    as_noise = ReverseProcess(noise, LINEAR)
    x_0 = as_noise.predict(x_t, t).x_0
    other = ReverseProcess(lambda x, time: kind.target(LINEAR, x_0, noise(x, time), x, time), LINEAR, kind)
    torch.testing.assert_close(other.transition(x_t, t).mean, as_noise.transition(x_t, t).mean, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", [None, DataPrediction(), VelocityPrediction()])
def test_clipping_recomputes_the_noise(kind):
    t, x_t = every(LINEAR)
    options = {} if kind is None else {"parameterization": kind}
    free = ReverseProcess(wavy, LINEAR, **options).predict(3 * x_t, t)
    clipped = ReverseProcess(wavy, LINEAR, clip=True, **options).predict(3 * x_t, t)
    assert float(free.x_0.abs().max()) > 1
    assert torch.equal(clipped.x_0, free.x_0.clamp(-1, 1))
    again = ForwardProcess(LINEAR).sample(clipped.x_0, t, clipped.noise)
    torch.testing.assert_close(again, 3 * x_t, rtol=1e-9, atol=1e-9)


def test_network_gets_own_time_and_label():
    seen = {}

    def network(x_t: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        seen.update(time=time.tolist(), label=label)
        return x_t

    reverse = ReverseProcess(network, LINEAR.strided([10, 300, 1000]))
    reverse.predict(torch.zeros(3, 1, 1, 1), torch.tensor([1, 2, 3]))
    assert seen["time"] == [10, 300, 1000] and seen["label"] is None
    reverse.predict(torch.zeros(2, 1, 1, 1), torch.tensor([2, 2]), torch.tensor([4, 5]))
    assert seen["time"] == [300, 300] and seen["label"].tolist() == [4, 5]


def test_learned_variance_is_second_half_of_channels():
    def network(x_t: Tensor, time: Tensor) -> Tensor:
        return torch.cat([x_t, torch.ones_like(x_t)], 1)

    x_t, t = torch.randn(2, 3, 1, 1, dtype=torch.float64), torch.tensor([9, 500])
    prediction = ReverseProcess(network, LINEAR, variance=LearnedRange()).predict(x_t, t)
    torch.testing.assert_close(prediction.noise, x_t)
    torch.testing.assert_close(prediction.variance, LINEAR.betas[t].reshape(2, 1, 1, 1).expand(2, 3, 1, 1))


@pytest.mark.parametrize("variance", [FixedSmall(), LearnedRange()])
def test_wrong_output_shape_is_refused(variance):
    reverse = ReverseProcess(lambda x, time: torch.zeros(1, 3, 4, 4), LINEAR, variance=variance)
    with pytest.raises(ShapeError, match="channels are expected"):
        reverse.predict(torch.zeros(1, 2, 4, 4), torch.tensor([1]))


def test_decoder_is_integrated_first_transition():
    x_1 = torch.randn(5, 1, 2, 2, dtype=torch.float64)
    reverse = ReverseProcess(wavy, LINEAR, levels=17)
    transition, decoder = reverse.transition(x_1, torch.ones(5, dtype=torch.int64)), reverse.decoder(x_1)
    assert torch.equal(decoder.mean, transition.mean) and torch.equal(decoder.variance, transition.variance)
    assert decoder.levels == 17


@pytest.mark.parametrize("schedule", [LINEAR, LINEAR.strided(17)])
def test_score_of_gaussian_data(schedule: NoiseSchedule):
    """The gradient of log N(x_t; sqrt(alphas_bar) m, v_t) is -(x_t - sqrt(alphas_bar) m) / v_t."""
    data, (t, x_t) = GaussianData(0.25, 0.09), every(schedule)
    mean, variance = (
        table[t].reshape(-1, 1, 1, 1) for table in (0.25 * schedule.alphas_bar.sqrt(), data.marginal_variance(schedule))
    )
    score = ReverseProcess(data.network(LINEAR), schedule).score(x_t, t)
    torch.testing.assert_close(score, -(x_t - mean) / variance, rtol=1e-9, atol=1e-9)
