"""The run folder of a VAE: trained, resumed bit for bit, loaded, used. Options of a chain are refused."""

import json

import pytest
import torch
from PIL import Image

import nelbo
from nelbo.errors import ConfigurationError, ShapeError
from nelbo.files import LOCK_FILE
from nelbo.recipes import VAERecipe, preset
from nelbo.recipes.families import fit_to_data
from nelbo.recipes.fitting import AssemblyWarning
from nelbo.runs import DiffusionRun, VAERun, load_as
from nelbo.studies import held_out_part
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog
from tests.training.conftest import PARTS, assert_same_run

TINY = {
    "network.latent": 4,
    "network.base": 4,
    "network.hidden": 16,
    "training.batch_size": 8,
    "training.precision": "fp32",
    "training.warmup": 2,
    "training.log_every": 2,
    "training.seed": 3,
}


def train(folder, steps, **more):
    settings = {**TINY, "training.steps": steps, **more}
    return nelbo.train("digits", folder, preset="vae-digits", overrides=settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("runs") / "vae"
    torch.set_num_threads(1)
    train(place, 60)
    return place


@pytest.fixture
def run(folder):
    return nelbo.load(folder, device="cpu")


def test_a_run_folder_is_complete(folder):
    pictures = {"samples.png", "reconstructions.png", "latent-traversal.png", "bound.png", "loss.png", "samples"}
    files = {"config.json", "model.safetensors", STATE_FILE, METRICS_FILE}
    assert {path.name for path in folder.iterdir() if path.name != LOCK_FILE} == pictures | files
    config = json.loads((folder / "config.json").read_text())
    assert config.keys() == {"nelbo", "preset", "data", "network", "training"}  # nothing of a schedule
    assert (config["network"]["kind"], config["network"]["shape"], config["network"]["levels"]) == (
        "vae",
        [1, 8, 8],
        17,
    )


def test_the_metrics_split_the_loss(folder):
    records = MetricsLog(folder / METRICS_FILE).records()
    losses = [record for record in records if "loss" in record]
    assert [record["step"] for record in losses] == list(range(2, 61, 2))
    for record in losses:
        assert record["loss"] == pytest.approx(record["reconstruction"] + record["kl"], abs=1e-4)
        assert "loss_by_quarter" not in record
    assert any("held_out_bits_per_dim" in record for record in records)


def test_a_traversal_has_a_row_per_dimension(folder):
    scale, gap, columns = 9, 2, 13
    with Image.open(folder / "latent-traversal.png") as picture:
        assert picture.size == (columns * (8 * scale + gap) + gap, 4 * (8 * scale + gap) + gap)


@pytest.mark.parametrize("cut", [2, 5])
def test_resume_is_bitwise(tmp_path, cut):
    steady = {"training.decay": "constant"}  # so that the rate doesn't hang on the budget
    train(tmp_path / "broken", cut, **steady)
    train(tmp_path / "broken", 6, **steady)
    train(tmp_path / "unbroken", 6, **steady)
    for place in tmp_path.iterdir():  # the looks at a budget that was then raised are the only difference
        lines = [r for r in MetricsLog(place / METRICS_FILE).records() if "loss" in r]
        (place / METRICS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert_same_run(tmp_path / "broken", tmp_path / "unbroken", PARTS - {"objective"})  # it learns nothing


def test_another_family_is_refused(run, folder):
    assert isinstance(run, VAERun)
    assert load_as(VAERun, folder).shape == (1, 8, 8)
    with pytest.raises(ConfigurationError, match="is a variational autoencoder; this needs a diffusion model"):
        load_as(DiffusionRun, folder)


def test_samples_depend_on_seed_and_number_only(run):
    whole, part = run.sample(5, seed=3), run.sample(3, seed=3, batch_size=2)
    assert not torch.equal(whole, run.sample(5, seed=4))
    assert whole.shape == (5, 1, 8, 8)
    assert whole.dtype == torch.uint8
    assert int((whole[:3].int() - part.int()).abs().max()) <= 1  # a mean between two levels may round either way
    assert not torch.equal(whole, run.sample(5, seed=4))
    with pytest.raises(ConfigurationError, match="num must be a whole number, at least 1"):
        run.sample(0)


def test_scores_average_to_the_bound(run):
    held_out = held_out_part(run)
    report = run.bound(held_out)
    assert (report.num_images, report.num_dims, report.levels) == (297, 64, 17)
    assert torch.equal(run.score(held_out), report.scores)
    with pytest.raises(ShapeError, match="3 x 8 x 8"):
        run.bound(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_estimates_of_log_p_are_ordered(run):
    """In expectation -log2 p(x) <= the importance-weighted bound <= the ELBO; and -ELBO is what `bound` reports."""
    images = held_out_part(run).spread(8)
    report = run.log_likelihood(images, samples=1000)
    assert report.samples == (1, 10, 100, 1000)
    assert bool((report.importance[-1] >= report.elbo[-1] - 1e-6).all())
    bits, bound = nelbo.bits_per_dim(-report.elbo[-1].mean(), 64), run.bound(images, draws=256)
    assert float(bits) == pytest.approx(bound.total, abs=6 * bound.draw_error)


def test_reconstructions_are_images(run):
    images = held_out_part(run).spread(3)
    assert run.reconstruct(images).shape == (3, 1, 8, 8)
    assert run.traversal(images, dims=2).shape == (2, 13, 1, 8, 8)
    assert int(run.traversal(images).max()) < 17


def test_chain_settings_are_refused():
    with pytest.raises(ConfigurationError, match=r"unknown setting \(loss\) 'loss'; choose from network, training"):
        preset("vae-digits").with_overrides({"loss": "simple"})
    with pytest.raises(ConfigurationError, match="a VAE has a recipe of its own"):
        preset("digits").with_overrides({"network.kind": "vae"})


def test_a_vae_is_fitted_to_its_data():
    recipe = preset("vae-fashion-mnist").with_overrides({"network.depth": 3})
    assert isinstance(recipe, VAERecipe)
    with pytest.warns(AssemblyWarning, match="28 x 28 can be halved 2 times, so the VAE keeps 3 of its 4 resolutions"):
        fitted = fit_to_data(recipe, (1, 28, 28), (), 256)
    assert fitted.network.depth == 2
    assert fit_to_data(recipe, (3, 32, 32), (), 16).network.shape == (3, 32, 32)
