"""The autoencoder and its parts: sizes, distributions, and what it is trained by."""

import math

import pytest
import torch

from nelbo.errors import ConfigurationError, NonFiniteError, ShapeError
from nelbo.latent import Autoencoder, AutoencoderOptions, FirstStageOptions, LatentScale, LatentSpace, measure_scale
from nelbo.latent.storage import options_of, settings_of, space_from, tensors_of
from nelbo.probability import DiscretizedLogistic, levels_to_data
from nelbo.vae import VAEObjective

TINY = {"base": 8, "groups": 4, "multipliers": (1, 2)}


def tiny(shape=(3, 8, 8), levels=256, **options):
    torch.manual_seed(0)
    return Autoencoder(AutoencoderOptions(shape=shape, levels=levels, **{**TINY, **options}))


def some_images(num, shape=(3, 8, 8)):
    return torch.randint(0, 256, (num, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 7, 10), (3, 1, 1), (4, 9, 3)])
@pytest.mark.parametrize("multipliers", [(1,), (1, 2), (1, 1, 2)])
def test_images_of_any_size_have_latents_and_likelihoods_of_their_own_size(shape, multipliers):
    model = tiny(shape, multipliers=multipliers)
    x_0 = levels_to_data(some_images(2, shape), 256)
    q = model.posterior(x_0)
    assert q.mean.shape == q.variance.shape == (2, *model.options.latent_shape)
    p = model.likelihood(q.mean)
    assert p.mean.shape == p.scale.shape == p.log_prob(x_0).shape == (2, *shape)


@pytest.mark.parametrize(
    ("side", "latents"), [(16, 4), (64, 16), (127, 32), (128, 16), (200, 25), (256, 16), (512, 16)]
)
def test_large_images_are_halved_more_often(side, latents):
    options = AutoencoderOptions().fitted((3, side, side), 256)
    assert options.latent_shape == (4, latents, latents)


@pytest.mark.parametrize("pixel_scale", [True, False])
@pytest.mark.parametrize("middle_attention", [True, False])
def test_every_weight_has_a_gradient(pixel_scale, middle_attention):
    model = tiny(pixel_scale=pixel_scale, middle_attention=middle_attention)
    objective = VAEObjective(model.options.latent_shape)
    draws = objective.draw(4, (3, 8, 8), torch.Generator().manual_seed(0))
    objective(model, some_images(4), None, draws).weighted.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, g in gradients.items() if g is None or not g.any() or not g.isfinite().all()] == []


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
@pytest.mark.parametrize("scale", [1e-3, 0.05, 3.0])
def test_masses_of_the_discretized_logistic_sum_to_one(levels, scale):
    grid = levels_to_data(torch.arange(levels), levels, torch.float64)
    for mean in (-2.0, -1.0, 0.013, 0.5, 1.0):
        p = DiscretizedLogistic(torch.tensor(mean).double(), torch.tensor(scale).double(), levels)
        assert float(p.log_prob(grid).logsumexp(0)) == pytest.approx(0, abs=1e-9)


def test_discretized_logistic_is_the_difference_of_its_distribution_function():
    mean, scale = torch.tensor(0.1).double(), torch.tensor(0.07).double()
    grid = levels_to_data(torch.arange(1, 16), 17, torch.float64)
    expected = ((grid + 1 / 16 - mean) / scale).sigmoid() - ((grid - 1 / 16 - mean) / scale).sigmoid()
    torch.testing.assert_close(DiscretizedLogistic(mean, scale, 17).log_prob(grid).exp(), expected)


def test_discretized_logistic_far_from_its_mean_is_finite_with_a_gradient():
    mean = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    raw = torch.full((3,), -9.0, requires_grad=True)
    nats = -DiscretizedLogistic(mean, raw.exp()).log_prob(torch.tensor([1.0, -0.7, -1.0]))
    nats.sum().backward()
    assert nats.isfinite().all() and mean.grad.isfinite().all() and raw.grad.isfinite().all()
    assert (nats > 1000).all() and (raw.grad < 0).all()


def test_draws_of_the_discretized_logistic_have_its_masses():
    """False alarm: 1 in 10^5 a level by a z-score of 4.4, seed 0."""
    num = 20_000
    p = DiscretizedLogistic(torch.full((num,), 0.2), torch.tensor(0.3), 5)
    drawn = p.sample(torch.Generator().manual_seed(0))
    grid = levels_to_data(torch.arange(5), 5)
    for level in grid:
        mass = float(DiscretizedLogistic(torch.tensor(0.2), torch.tensor(0.3), 5).log_prob(level).exp())
        share = float((drawn - level).abs().lt(1e-6).float().mean())
        assert abs(share - mass) < 4.4 * math.sqrt(mass * (1 - mass) / num)


def test_distributions_are_float32_under_autocast():
    model, x_0 = tiny(), levels_to_data(some_images(2), 256)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bound = model(x_0, torch.zeros(2, *model.options.latent_shape))
    assert {bound.reconstruction.dtype, bound.kl.dtype} == {torch.float32}


def test_measured_scale_makes_latents_of_unit_variance(tiny_data):
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderOptions(shape=(1, 8, 8), levels=17, **TINY)).eval()
    space = LatentSpace(model, measure_scale(model, tiny_data))
    x_0 = space.data_of(tiny_data.images(range(len(tiny_data))))
    with torch.no_grad():
        mean, stddev = space.moments(x_0).chunk(2, 1)
    torch.testing.assert_close(mean.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close((mean**2 + stddev**2).mean((0, 2, 3)), torch.ones(4), rtol=1e-4, atol=0)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(space.encode(x_0, noise).u, mean + stddev * noise, rtol=1e-4, atol=1e-4)


def test_stored_space_is_the_same():
    model = tiny().eval()
    space = LatentSpace(model, LatentScale.of((torch.zeros(4), torch.ones(4) * 4)))
    again = space_from(options_of(settings_of(space)), tensors_of(space))
    u = torch.randn(1, *model.options.latent_shape)
    assert torch.equal(space.decode(u).mean, again.decode(u).mean)


def test_wrong_options_and_shapes_are_refused():
    with pytest.raises(ShapeError, match=r"\(3, 4, 8\), but the model was built for \(3, 8, 8\)"):
        tiny().posterior(torch.zeros(1, 3, 4, 8))
    for wrong in ({"latent": 0}, {"levels": 1}, {"multipliers": ()}, {"groups": 5, "multipliers": (1,)}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            AutoencoderOptions(**wrong)
    for wrong in ({"share": 1.0}, {"batch_size": 0}, {"learning_rate": math.nan}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            FirstStageOptions(**wrong)
    with pytest.raises(NonFiniteError, match="no finite mean"):
        LatentScale.of((torch.tensor([math.nan]), torch.ones(1)))
