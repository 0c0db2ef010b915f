"""The VAE: shapes, the units of the decoders, the objective and the report."""

import math

import pytest
import torch

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.probability import DiscretizedGaussian, levels_to_data
from nelbo.vae import VAE, GaussianLevels, VAEObjective, VAEOptions, busiest, elbo, evaluate_elbo, traverse

SMALL = VAEOptions(shape=(1, 8, 8), levels=17, latent=3, base=4, hidden=8, blocks=1)


def small(**options):
    torch.manual_seed(0)
    return VAE(VAEOptions(**{**vars(SMALL), **options}))


def some_images(num, shape=(1, 8, 8), levels=17):
    return torch.randint(0, levels, (num, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize(("shape", "depth"), [((1, 28, 28), 2), ((3, 32, 16), 3), ((1, 5, 7), 0), ((2, 1, 1), 0)])
def test_any_divisible_image_shape_works(shape, depth):
    model = small(shape=shape, depth=depth)
    x_0 = levels_to_data(some_images(2, shape), 17)
    q = model.posterior(x_0)
    assert q.mean.shape == q.variance.shape == (2, 3)
    assert model.likelihood(q.mean).mean.shape == (2, *shape)
    assert model(x_0, torch.zeros(2, 3)).total.shape == (2,)


def test_invalid_options_and_shapes_are_refused():
    with pytest.raises(ShapeError, match="28 x 28 cannot be halved 3 times"):
        VAE(VAEOptions(depth=3))
    with pytest.raises(ShapeError, match=r"\(1, 4, 8\), but the model was built for \(1, 8, 8\)"):
        small().posterior(torch.zeros(1, 1, 4, 8))
    for wrong in ({"latent": 0}, {"stddev": 0.0}, {"stddev": math.inf}, {"decoder": "bernoulli"}, {"levels": 1}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            VAEOptions(**wrong)


def test_gaussian_decoder_counts_density_in_levels():
    """It adds log2(127.5) = 6.994 bits/dim for 256 levels; if stddev spans many levels, both decoders agree."""
    x_0 = levels_to_data(torch.tensor([60, 128, 190]), 256)
    mean, variance = torch.zeros(3), torch.tensor(0.25)
    plain = torch.distributions.Normal(mean, 0.5).log_prob(x_0)
    counted = GaussianLevels(mean, variance).log_prob(x_0)
    torch.testing.assert_close((plain - counted) / math.log(2), torch.full((3,), 6.994), rtol=0, atol=1e-3)
    torch.testing.assert_close(counted, DiscretizedGaussian(mean, variance).log_prob(x_0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("decoder", ["discretized", "gaussian"])
@pytest.mark.parametrize("learned", [True, False])
def test_every_learned_weight_has_a_gradient(decoder, learned):
    model = small(decoder=decoder, learned_stddev=learned)
    objective = VAEObjective(3, 17)
    draws = objective.draw(4, (1, 8, 8), torch.Generator().manual_seed(0))
    objective(model, some_images(4), None, draws).weighted.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert (gradients.pop("log_stddev") is not None) == learned
    assert [name for name, g in gradients.items() if g is None or not g.any() or not g.isfinite().all()] == []


def test_loss_is_negative_elbo_per_dimension():
    model, objective, images = small(), VAEObjective(3, 17), some_images(4)
    draws = objective.draw(4, (1, 8, 8), torch.Generator().manual_seed(0))
    losses, bound = objective(model, images, None, draws), elbo(model, levels_to_data(images, 17), draws["noise"])
    torch.testing.assert_close(losses.weighted, -bound.total / 64)
    torch.testing.assert_close(losses.loss, losses.terms["reconstruction"] + losses.terms["kl"])
    assert not losses.loss.requires_grad
    assert losses.position is None


def test_distributions_are_float32_under_autocast():
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        bound = model(levels_to_data(some_images(2), 17), torch.zeros(2, 3))
    assert {bound.reconstruction.dtype, bound.kl.dtype} == {torch.float32}


def test_extreme_encoder_stays_finite():
    model = small()
    with torch.no_grad():
        model.encoder.steps[-1].bias[3:] = 1e4
    assert model(levels_to_data(some_images(2), 17), torch.zeros(2, 3)).kl.isfinite().all()


def test_report_adds_up_for_any_batch_size(tiny_data):
    model = small()
    one, other = (evaluate_elbo(model, tiny_data, draws=3, seed=5, batch_size=size) for size in (40, 7))
    torch.testing.assert_close(one.scores, other.scores, rtol=0, atol=1e-5)
    assert one.total == pytest.approx(one.reconstruction + one.kl)
    assert one.total == pytest.approx(float(one.scores.mean()))
    assert one.standard_error == pytest.approx(float(one.scores.std()) / math.sqrt(40))
    assert 0 < one.draw_error < one.standard_error
    assert math.isnan(evaluate_elbo(model, tiny_data, draws=1).draw_error)
    assert one.total != evaluate_elbo(model, tiny_data, draws=3, seed=6).total


def test_draw_error_matches_spread_over_seeds(tiny_data):
    """Over 100 seeds, the spread of the total equals the draw error within 4.5 standard errors of a spread (32%)."""
    model = small()
    reports = [evaluate_elbo(model, tiny_data, draws=2, seed=seed) for seed in range(100)]
    spread = torch.tensor([report.total for report in reports]).std()
    reported = torch.tensor([report.draw_error for report in reports]).square().mean().sqrt()
    assert 0.68 < float(reported / spread) < 1.32


def test_traversal_changes_one_dimension_of_z():
    model, z = small(), torch.tensor([0.5, -1.0, 2.0])
    means = traverse(model, z, torch.tensor([2, 0]), torch.tensor([-3.0, 0.0, 2.0]))
    assert means.shape == (2, 3, 1, 8, 8)
    torch.testing.assert_close(means[0, 2], model.likelihood(z[None]).mean[0])
    torch.testing.assert_close(means[1, 0], model.likelihood(torch.tensor([[-3.0, -1.0, 2.0]])).mean[0])


def test_busiest_dimensions_come_first():
    model = small()
    with torch.no_grad():
        model.encoder.steps[-1].weight.zero_()
        model.encoder.steps[-1].bias.copy_(torch.tensor([0.1, 3.0, 1.0, 0.0, 0.0, 0.0]))
    assert busiest(model, levels_to_data(some_images(5), 17), 2).tolist() == [1, 2]
