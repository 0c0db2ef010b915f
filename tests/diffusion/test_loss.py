"""Each loss against its equation, with the same noise."""

import math

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import (
    DataPrediction,
    DiffusionObjective,
    FixedLarge,
    FixedSmall,
    ForwardProcess,
    GridPrediction,
    HybridLoss,
    LearnedRange,
    MeanPrediction,
    MinSNR,
    NoisePrediction,
    NoiseSchedule,
    Parameterization,
    ReverseProcess,
    SigmoidWeight,
    SimpleLoss,
    UniformTimesteps,
    VariationalBound,
    VariationalLoss,
    VelocityPrediction,
)
from nelbo.probability import levels_to_data
from tests.diffusion.oracle import GaussianData, at

SCHEDULE = NoiseSchedule.log_linear(12, 6.0, -7.0)
KINDS = [NoisePrediction(), DataPrediction(), VelocityPrediction(), MeanPrediction(), GridPrediction(17)]


def batch(num: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return data on 17 levels and noise, (num, 2, 3, 3) float64."""
    g = torch.Generator().manual_seed(seed)
    x_0 = levels_to_data(torch.randint(17, (num, 2, 3, 3), generator=g), 17, torch.float64)
    return x_0, torch.randn(x_0.shape, generator=g, dtype=torch.float64)


def wavy(x_t: Tensor, time: Tensor) -> Tensor:
    return torch.sin(2 * x_t + time.reshape(-1, 1, 1, 1))


def test_simple_loss_is_equation_14():
    t = torch.arange(1, 13)
    x_0, noise = batch(12)
    abar = SCHEDULE.alphas_bar[t].reshape(-1, 1, 1, 1)
    expected = (noise - wavy(abar.sqrt() * x_0 + (1 - abar).sqrt() * noise, t)).square().sum((1, 2, 3)) / 18
    torch.testing.assert_close(SimpleLoss()(ReverseProcess(wavy, SCHEDULE), x_0, t, noise), expected)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
def test_simple_loss_is_zero_at_target(kind: Parameterization):
    t = torch.arange(1, 13)
    x_0, noise = batch(12)

    def knows(x_t: Tensor, time: Tensor) -> Tensor:
        return kind.target(SCHEDULE, x_0, noise, x_t, time)

    assert float(SimpleLoss()(ReverseProcess(knows, SCHEDULE, kind), x_0, t, noise).max()) == 0
    assert float(SimpleLoss()(ReverseProcess(wavy, SCHEDULE, kind), x_0, t, noise).min()) > 0


@pytest.mark.parametrize("variance", [FixedLarge(), FixedSmall()])
def test_equation_12_weights_turn_simple_loss_into_bound(variance):
    """The difference in L_{t-1} of two networks is the weight of eq. 12 times the difference in squared error."""
    t = torch.arange(2, 13)
    x_0, noise = batch(11)
    steps, errors = [], []
    for network in (wavy, lambda x, time: 0.3 * x):
        reverse = ReverseProcess(network, SCHEDULE, variance=variance, levels=17)
        steps.append(VariationalBound(reverse).step(x_0, t, noise))
        errors.append(SimpleLoss()(reverse, x_0, t, noise) * 18)
    abar, before = SCHEDULE.alphas_bar[t], SCHEDULE.alphas_bar[t - 1]
    alpha = abar / before
    sigma2 = 1 - alpha if isinstance(variance, FixedLarge) else (1 - before) / (1 - abar) * (1 - alpha)
    weight = (1 - alpha) ** 2 / (2 * sigma2 * alpha * (1 - abar))
    torch.testing.assert_close(steps[0] - steps[1], weight * (errors[0] - errors[1]), rtol=1e-8, atol=1e-9)


def test_variational_loss_averages_to_the_bound():
    """With the same noise, the mean of the loss over t = 1..T is L in nats per dimension."""
    x_0, _ = batch(5)
    reverse = ReverseProcess(wavy, SCHEDULE, variance=FixedSmall(), levels=17)
    total = VariationalBound(reverse).terms(x_0, torch.Generator().manual_seed(1)).total / 18
    g, losses = torch.Generator().manual_seed(1), []
    for t in range(1, 13):
        noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
        losses.append(VariationalLoss()(reverse, x_0, at(t, x_0), noise))
    torch.testing.assert_close(torch.stack(losses).mean(0), total)


class TwoHalves(torch.nn.Module):
    """A network with one weight for the mean half and one for the variance half."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
        self.spread = torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))

    def forward(self, x_t: Tensor, time: Tensor) -> Tensor:
        return torch.cat([self.mean * x_t, self.spread * torch.tanh(x_t)], 1)


def gradients(loss: Tensor, network: TwoHalves) -> tuple[Tensor, Tensor]:
    by_mean, by_spread = torch.autograd.grad(loss.sum(), (network.mean, network.spread), allow_unused=True)
    zero = torch.zeros((), dtype=torch.float64)
    return zero if by_mean is None else by_mean, zero if by_spread is None else by_spread


def test_hybrid_trains_mean_by_simple_loss_only():
    network, t = TwoHalves(), torch.arange(1, 13)
    x_0, noise = batch(12)
    reverse = ReverseProcess(network, SCHEDULE, variance=LearnedRange(), levels=17)
    hybrid = HybridLoss(0.01)(reverse, x_0, t, noise)
    simple, full = SimpleLoss()(reverse, x_0, t, noise), VariationalLoss()(reverse, x_0, t, noise)
    prior = VariationalBound(reverse).prior(x_0) / 18  # a constant, left out of the mixture
    torch.testing.assert_close(hybrid, simple + 0.01 * (full - prior))
    by_mean, by_spread = gradients(hybrid, network)
    simple_by_mean, simple_by_spread = gradients(simple, network)
    full_by_mean, full_by_spread = gradients(full, network)
    torch.testing.assert_close(by_mean, simple_by_mean)
    torch.testing.assert_close(by_spread, 0.01 * full_by_spread)
    assert float(simple_by_spread) == 0 and abs(float(full_by_mean)) > 1e-3 and abs(float(by_spread)) > 1e-6


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
@pytest.mark.parametrize("gamma", [0.1, 5.0, 1e9])
def test_min_snr_is_equal_for_every_parameterization(kind: Parameterization, gamma: float):
    """The loss is min(SNR, gamma) ||x_0 - xhat_0||^2 for every parameterization."""
    t = torch.arange(1, 13)
    x_0, noise = batch(12)
    x_t = ForwardProcess(SCHEDULE).sample(x_0, t, noise)
    reverse = ReverseProcess(wavy, SCHEDULE, kind)
    loss = SimpleLoss(MinSNR(gamma))(reverse, x_0, t, noise)
    snr = SCHEDULE.alphas_bar[t] / (1 - SCHEDULE.alphas_bar[t])
    squared = (reverse.predict(x_t, t).x_0 - x_0).square().flatten(1).mean(1)
    torch.testing.assert_close(loss, snr.clamp(max=gamma) * squared, rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: k.name)
@pytest.mark.parametrize("bias", [-2.0, 0.0, 1e3])
def test_sigmoid_weight_is_equal_for_every_parameterization(kind: Parameterization, bias: float):
    """The loss is sigmoid(bias - log SNR) ||noise - noise_theta||^2; for a large bias, plain L_simple of the noise."""
    t = torch.arange(1, 13)
    x_0, noise = batch(12)
    x_t = ForwardProcess(SCHEDULE).sample(x_0, t, noise)
    reverse = ReverseProcess(wavy, SCHEDULE, kind)
    loss = SimpleLoss(SigmoidWeight(bias))(reverse, x_0, t, noise)
    snr = SCHEDULE.alphas_bar[t] / (1 - SCHEDULE.alphas_bar[t])
    squared = (reverse.predict(x_t, t).noise - noise).square().flatten(1).mean(1)
    torch.testing.assert_close(loss, squared / (1 + snr * math.exp(-bias)), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("loss", [SimpleLoss(), VariationalLoss()])
def test_best_network_is_stationary_point(loss):
    """Scaling the exact network of Gaussian data up or down raises the mean loss (20,000 draws, common noise).

    The increase, 0.1^2 E[noise_theta^2], is more than 2 standard errors of its estimate.
    """
    data = GaussianData(0.0, 0.25)
    g = torch.Generator().manual_seed(2)
    x_0 = data.draw(20_000, g)
    noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
    t = torch.randint(2, 13, (20_000,), generator=g)
    best = data.network(SCHEDULE)

    def mean_loss(scale: float) -> Tensor:
        reverse = ReverseProcess(lambda x, time: scale * best(x, time), SCHEDULE, variance=FixedSmall())
        return loss(reverse, x_0, t, noise)

    for scale in (0.9, 1.1):
        rise = mean_loss(scale) - mean_loss(1.0)
        assert float(rise.mean() / rise.std()) * 20_000**0.5 > 2


def test_position_of_an_example_is_its_share_of_the_chain():
    objective = DiffusionObjective(
        SCHEDULE, NoisePrediction(), FixedSmall(), SimpleLoss(), UniformTimesteps(12), levels=17
    )
    t = torch.tensor([1, 7, 12])
    draws = {"t": t, "weight": torch.ones(3), "noise": torch.zeros(3, 1, 2, 2)}
    losses = objective(lambda x_t, time: 0 * x_t, torch.zeros(3, 1, 2, 2, dtype=torch.uint8), None, draws)
    assert losses.position.tolist() == pytest.approx([0, 6 / 12, 11 / 12])


def test_each_loss_calls_the_network_once():
    calls = []

    def network(x_t: Tensor, time: Tensor) -> Tensor:
        calls.append(1)
        return torch.cat([x_t, x_t], 1)

    reverse = ReverseProcess(network, SCHEDULE, variance=LearnedRange(), levels=17)
    x_0, noise = batch(2)
    for loss in (SimpleLoss(), VariationalLoss(), HybridLoss()):
        calls.clear()
        loss(reverse, x_0, torch.tensor([1, 7]), noise)
        assert len(calls) == 1
