"""The integer chain: its q is the diffusion of the paper, its p without a network is the best linear model."""

import math

import numpy as np
import pytest
import torch

from nelbo.diffusion.passes import num_stages, walk
from nelbo.lattice import ChainObjective, Estimate, IntegerChain, Known, LinearModel, centred, simulate
from nelbo.lattice.chain import PARTS, unit_of
from nelbo.lattice.objective import LARGEST_SCALE, ROUNDED_AWAY, Clamped, step_kl
from nelbo.lattice.sizes import pixel_options, spacing_of, step_options
from nelbo.networks.integers import UNIT
from nelbo.networks.step_network import StepNetwork, StepOptions
from nelbo.probability import DiagonalGaussian, kl_divergence
from nelbo.probability.integer_gaussian import MASS, SCALES_AN_OCTAVE
from tests.lattice.tiny import STEPS, digits, linear_of, tiny_model, trained_chain


def chain_without_network(linear: LinearModel) -> IntegerChain:
    """Return a chain whose network outputs 0."""
    return IntegerChain(linear, StepNetwork(STEPS).exact())


def noise(x: torch.Tensor, steps: int, seed: int = 0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(x.shape, generator=generator) for _ in range(steps)]


def test_variance_of_the_noise_doubles_at_each_step():
    """u_t y_t is x_0 plus noise of two units (eq. 4), up to the variance 1/12 of a rounding at each step."""
    x_0 = torch.full((200_000, 1, 1, 1), 37)
    for t, y in enumerate(simulate(x_0, 4, noise(x_0, 6)), 1):
        unit = unit_of(4, t) / PARTS
        assert unit == pytest.approx(4 * 2 ** ((t - 1) / 2), abs=0.5 / PARTS)
        assert float((y * unit).double().mean()) == pytest.approx(37, abs=5 * 2 * unit / 200_000**0.5)
        assert float(y.double().var()) == pytest.approx(4 + 1 / 12 * sum(2.0**-j for j in range(t)), rel=0.015)


def test_drawn_integers_have_the_masses_that_code_them():
    """Chi-square at a false-alarm rate of 1e-4, seed 0, for y_1 and for y_2 given one value of y_1."""
    chain = chain_without_network(linear_of(digits(200)))
    x_0 = torch.full((40_000, 1, 1, 1), 5)
    first, second = simulate(x_0, chain.linear.spacing, noise(x_0, 2))
    value = int(first.mode(0).values)
    given = second[first == value]
    for drawn, q in ((first.flatten(), chain.first(x_0[:1])), (given, chain.next(torch.full((1, 1, 1, 1), value), 2))):
        places = np.arange(-20, 21)
        mass = np.concatenate([q.interval(np.array([place]))[1] for place in places])
        expected = len(drawn) * mass / MASS
        counts = np.array([(drawn == int(place)).sum() for place in places])
        kept = expected > 20
        statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
        freedom = kept.sum() - 1
        cube = 1 - 2 / (9 * freedom) + 3.719 * math.sqrt(2 / (9 * freedom))  # Wilson & Hilferty
        assert statistic < freedom * cube**3


def test_mean_of_the_previous_step_is_that_of_the_posterior():
    """q(y_{t-1}|y_t, x_0) by Bayes: two Gaussians multiplied, in the units of y_{t-1}."""
    chain = chain_without_network(linear_of(digits(200), spacing=64))
    linear = chain.linear
    finer, unit = linear.unit(2) / PARTS, linear.unit(3) / PARTS
    y, x_0 = 3.0, 9.0
    prior_mean, prior_variance = x_0 / finer, 4.0  # y_2 given x_0
    slope, noise_variance = finer / unit, 2.0  # y_3 given y_2
    variance = 1 / (1 / prior_variance + slope**2 / noise_variance)
    mean = variance * (prior_mean / prior_variance + slope * y / noise_variance)
    assert variance == pytest.approx(2, rel=1e-3)  # units are rounded
    assert mean == pytest.approx((unit * y + x_0) / 2 / finer, rel=1e-3)
    shape = (1, *linear.mean.shape)
    estimate = Estimate(torch.full(shape, int(x_0)), torch.full(shape, 8))
    p = chain.previous(torch.full(shape, int(y)), 3, estimate)
    assert (p.mean == math.floor(64 * (unit * y + x_0) / 2 / finer)).all()


def test_kl_of_a_step():
    error, octaves = torch.randn(50).double(), torch.rand(50).double() * 4
    q = DiagonalGaussian(error, torch.full_like(error, 2.0))
    p = DiagonalGaussian(torch.zeros_like(error), 2 * 4.0**octaves)
    torch.testing.assert_close(step_kl(error, octaves), kl_divergence(q, p))


def test_scales_beyond_the_limits_find_back():
    octaves = torch.tensor([-1.0, -1.0, 2.0, 9.0, 9.0], requires_grad=True)
    clamped = Clamped.apply(octaves)
    assert clamped.tolist() == [0, 0, 2, LARGEST_SCALE, LARGEST_SCALE]
    clamped.backward(torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0]))
    assert octaves.grad.tolist() == [0, -1, 1, 0, 1]


def test_zero_network_is_the_best_linear_model():
    """For independent Gaussian pixels, p without a network is exact: sum of KL = I(x_0; y_1), by its closed form."""
    generator = torch.Generator().manual_seed(0)
    deviation, mean = 30.0, 128.0
    x = (mean + deviation * torch.randn(2000, 1, 8, 8, generator=generator)).round().clamp(0, 255)
    steps = StepOptions(channels=1, steps=12, widths=(8,), bottom=1)  # one stage
    shape = (1, 8, 8)
    linear = LinearModel.of(256, 4, 12, 1, torch.full(shape, mean).double(), torch.full(shape, deviation**2).double())
    chain = IntegerChain(linear, StepNetwork(steps).exact())
    x_0 = centred(x, 256)
    chains = simulate(x_0, 4, noise(x_0, 12, seed=1))
    bits = -np.log2(chain.prior(len(x)).interval(chains[-1].reshape(-1).numpy())[1] / MASS).mean()
    for t in range(12, 1, -1):
        y, nearer = chains[t - 1], chains[t - 2]
        p = chain.previous(y, t, chain.estimate(y, t))
        bits -= np.log2(p.interval(nearer.reshape(-1).numpy())[1] / MASS).mean()
        bits += np.log2(chain.next(nearer, t).interval(y.reshape(-1).numpy())[1] / MASS).mean()
    bits += np.log2(chain.first(x_0).interval(chains[0].reshape(-1).numpy())[1] / MASS).mean()
    noise_of_first = 2 * 4 / 2  # two units of 4 half levels, in levels
    information = 0.5 * math.log2(1 + deviation**2 / noise_of_first**2)
    assert bits == pytest.approx(information, rel=0.01)


def test_training_expects_the_log_scale_that_the_chain_uses():
    """The chain rounds the network's log scale down; over all its fractions, `ROUNDED_AWAY` is what that takes."""
    linear = linear_of(digits(200))
    for t in range(1, linear.steps + 1):
        linear.scale[t - 1] = 24  # far from both limits
    found = torch.rand(1000, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 * UNIT - UNIT
    whole = found.floor()  # as the last layer of the exact network rounds
    chain = IntegerChain(linear, lambda inputs, place: torch.cat([torch.zeros_like(whole), whole], 1))
    coded = chain.estimate(torch.zeros(1000, 1, 8, 8, dtype=torch.int64), 2).scale / SCALES_AN_OCTAVE
    expected = 24 / SCALES_AN_OCTAVE + found / UNIT - ROUNDED_AWAY
    assert float((coded - expected).mean()) == pytest.approx(0, abs=1e-3)  # the deviation of the mean is 1.4e-4


def test_training_lowers_the_bound():
    network, objective, losses = trained_chain(150)
    assert np.mean(losses[-30:]) < 0.8 * np.mean(losses[:5])
    assert objective.state_dict() == {} and network.exact().options == STEPS


def test_draws_cover_every_place_evenly():
    objective = ChainObjective(linear_of(digits(200)), 4)
    draws = objective.draw(64, (1, 8, 8), torch.Generator().manual_seed(0))
    assert draws["noise"].shape == (64, 4, 1, 8, 8)
    assert torch.bincount(draws["place"]).tolist() == [8] * 8


def test_places_of_the_network():
    """Five stages at t = 1, then t = 2, 3, 4."""
    linear = linear_of(digits(200))
    places = [int(linear.place(1, stage)) for stage in range(5)] + [int(linear.place(t)) for t in (2, 3, 4)]
    assert places == list(range(8))


@pytest.mark.parametrize(("side", "stages"), [(2, [0, 1, 2, 2]), (4, [0, 1, 2, 2, 3, 3, 3, 3, *[4] * 8])])
def test_stages_double_what_is_known(side, stages):
    found = [now.stage for _, now in walk((2, 8, 8), side) if now.channel == 0]
    assert found == stages and num_stages(side) == max(stages) + 1
    for known, now in walk((1, 8, 8), side):
        assert int(known.sum()) * side**2 // 64 >= 2**now.stage // 2


def test_known_pixels_enter_the_estimate():
    chain, x = tiny_model().chain, digits(6)
    x_0 = centred(x, 17)
    y = simulate(x_0, 1, noise(x_0, 4))[0]
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[:, ::2, ::2] = True
    known = chain.estimate(y, 1, Known(x_0, mask, 3)).x_0
    assert not torch.equal(known, chain.estimate(y, 1).x_0)
    other = torch.where(mask, x_0, 7)  # what is not known has no influence
    assert torch.equal(chain.estimate(y, 1, Known(other, mask, 3)).x_0, known)


def test_estimate_equals_that_in_training():
    """The float network with rounded weights differs from the integers by roundings only."""
    network, objective, _ = trained_chain(30)
    chain = IntegerChain(objective.linear, network.exact())
    x_0 = centred(digits(20), 17)
    y = simulate(x_0, 1, noise(x_0, 4))[1]
    guess = objective.linear.estimate(y, 2)
    inputs = objective.linear.inputs(y, guess, torch.zeros(1, 8, 8, dtype=torch.bool))
    with torch.no_grad():
        shift = network(inputs, torch.full((20,), 5)).chunk(2, 1)[0]
    estimate = chain.estimate(y, 2).x_0
    assert (estimate - (guess + shift).clamp(-16, 16)).abs().max() < 2


@pytest.mark.parametrize("t", [1, 4])
def test_images_of_a_batch_do_not_depend_on_one_another(t):
    chain = tiny_model().chain
    x_0 = centred(digits(8), 17)
    y = simulate(x_0, 1, noise(x_0, 4))[t - 1]
    together = chain.estimate(y, t)
    alone = [chain.estimate(each, t) for each in y.split(1)]
    assert torch.equal(together.x_0, torch.cat([each.x_0 for each in alone]))
    assert torch.equal(together.scale, torch.cat([each.scale for each in alone]))


def test_sizes_fit_the_images():
    assert (spacing_of(256), spacing_of(17), spacing_of(2)) == (64, 4, 1)
    assert step_options((1, 28, 28)).widths == (32, 64, 128)
    assert step_options((3, 30, 64)).widths == (32, 64)
    assert step_options((3, 31, 64)).widths == (32,)
    assert pixel_options(3, 256).hidden < pixel_options(1, 256).hidden
