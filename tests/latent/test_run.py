"""A latent diffusion model from one command: training in two stages, resuming, samples, the bound, and refusals."""

import json
import math
import os
import signal

import pytest
import torch

import nelbo
from nelbo.data import load_data
from nelbo.errors import ConfigurationError, RunError
from nelbo.files import read_tensors
from nelbo.latent import EncodedImages
from nelbo.latent.measuring import measure_scale
from nelbo.recipes import LatentRecipe, preset
from nelbo.runs import LatentRun, load_as
from nelbo.studies import Listener, data_of
from tests.conftest import made_once, write_pictures

TINY = {
    "autoencoder.base": 8,
    "autoencoder.groups": 4,
    "first_stage.batch_size": 4,
    "network.base": 8,
    "network.groups": 4,
    "network.blocks": 1,
    "network.attention": (),
    "network.middle_attention": False,
    "schedule.num_steps": 12,
    "training.batch_size": 4,
    "training.precision": "fp32",
    "training.log_every": 2,
    "training.save_every": 2,
    "training.flip": True,
    "training.compile": False,
}
FILES = ("autoencoder.safetensors", "model.safetensors", "metrics.jsonl", "autoencoder/metrics.jsonl")


def trained_on(data, out, listener=None, **changes):
    return nelbo.train(
        data, out, preset="latent", steps=8, held_out=3, overrides={**TINY, **changes}, listener=listener
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made_once(tmp_path_factory, "latent-pictures", lambda part: write_pictures(part, 14, (16, 16)))


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder):
    return trained_on(folder, tmp_path_factory.mktemp("latent") / "run")


@pytest.fixture(scope="module")
def held_out(folder):
    return load_data(str(folder), held_out=3).test


def content(path):
    """The tensors or the records of a file, without times."""
    if path.suffix == ".safetensors":
        return {name: tensor.tolist() for name, tensor in read_tensors(path)[0].items()}
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        {key: value for key, value in each.items() if key not in ("minutes", "images_per_second")} for each in records
    ]


def test_both_stages_are_trained_and_logged(run):
    assert isinstance(run, LatentRun) and run.calibrated
    assert [record["step"] for record in run.metrics if "loss" in record] == [2, 4]
    first = content(run.folder / "autoencoder" / "metrics.jsonl")
    assert {"reconstruction", "kl"} < first[0].keys() and first[-1]["held_out_bits_per_dim"] > 0
    assert {"samples.png", "reconstructions.png"} <= {path.name for path in run.folder.glob("*.png")}
    assert "4 x 4 x 4 (L x h x w)" in run.summary()["autoencoder"]


@pytest.mark.parametrize("stage", ["training the autoencoder", "encoding images", "training", "calibrating"])
def test_a_run_killed_in_any_stage_resumes_bitwise(run, folder, tmp_path, stage):
    out = tmp_path / "run"
    if (child := os.fork()) == 0:  # pragma: no cover
        seen = []

        def die(name):
            seen.append(name)
            if seen.count(stage) == 3 or (name == stage and stage in ("encoding images", "calibrating")):
                os.kill(os.getpid(), signal.SIGKILL)

        listener = Listener(on_stage=lambda name, *_: die(name), on_step=lambda step: die("training"))
        trained_on(folder, out, listener)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    trained_on(folder, out)
    for name in FILES:
        assert content(out / name) == content(run.folder / name), name


def test_a_signal_in_the_first_stage_saves_its_state(run, folder, tmp_path):
    def stop(name, done, total):
        if name == "training the autoencoder" and done == 500:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        trained_on(folder, tmp_path / "run", Listener(on_stage=stop))
    with pytest.raises(RunError, match=r"model\.safetensors"):
        nelbo.load(tmp_path / "run")
    trained_on(folder, tmp_path / "run")
    for name in FILES[:2]:
        assert content(tmp_path / "run" / name) == content(run.folder / name), name


def test_samples_have_the_images_shape_and_depend_on_seed_and_index_alone(run):
    images = run.sample(5, steps=4, batch_size=2)
    assert images.shape == (5, 3, 16, 16) and images.dtype == torch.uint8
    rest = run.sample(2, steps=4, first=3)
    assert int((images[3:].int() - rest.int()).abs().max()) <= 1
    assert not torch.equal(images, run.sample(5, steps=4, seed=1))
    assert run.sample(2, sampler="ancestral").shape == (2, 3, 16, 16)


def test_bound_is_the_sum_of_its_terms_and_the_mean_of_its_scores(run, held_out):
    report = run.bound(held_out, draws=3)
    parts = ("reconstruction", "encoder", "prior", "denoising", "last_step", "scaling")
    assert report.total == pytest.approx(math.fsum(getattr(report, part) for part in parts))
    assert report.total == pytest.approx(float(report.scores.mean()))
    assert (report.num_dims, report.latent_dims, len(report.scores)) == (768, 64, len(held_out))
    assert set(report.to_json()["bits_per_dim"]) == {"total", *parts, "standard_error", "rate"}
    assert len(report.to_pandas()) == len(held_out)


def test_scores_are_those_of_the_bound_for_any_batch_size(run, held_out):
    scores = run.score(held_out, seed=5, batch_size=1)
    torch.testing.assert_close(scores, run.bound(held_out, seed=5, steps_per_image=32).scores, rtol=0, atol=1e-4)


def test_bound_does_not_depend_on_which_values_of_t_are_drawn(run, held_out):
    """With every t, only z and noise are drawn. False alarm: 1 in 10^4 by a z-score of 3.9."""
    every = run.bound(held_out, draws=20, steps_per_image=None, seed=1)
    some = run.bound(held_out, draws=20, steps_per_image=2, seed=2)
    assert abs(every.total - some.total) < 3.9 * math.hypot(every.draw_error, some.draw_error)


def test_evaluating_does_not_train(run, held_out):
    before = run.digest()
    run.bound(held_out)
    assert nelbo.load(run.folder).digest() == run.digest() == before


def test_reconstructions_have_the_images_shape(run, held_out):
    assert run.reconstruct(held_out, batch_size=1).shape == (len(held_out), 3, 16, 16)


def test_another_run_can_take_the_autoencoder(run, folder, tmp_path):
    other = trained_on(folder, tmp_path / "other", **{"first_stage.source": str(run.folder), "training.seed": 9})
    ours, theirs = (read_tensors(each.folder / FILES[0])[0] for each in (run, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if not name.startswith("scale."))
    measured = measure_scale(other.space.autoencoder, data_of(other).train)  # another seed holds out other images
    torch.testing.assert_close(other.space.scale.mean, measured.mean)
    assert content(other.folder / FILES[1]) != content(run.folder / FILES[1])
    assert other.metrics[-1]["step"] == 8  # the whole budget
    nelbo.train(None, other.folder)
    with pytest.raises(RunError, match="no finished autoencoder"):
        trained_on(folder, tmp_path / "none", **{"first_stage.source": "fashion-mnist"})


def test_what_latents_cannot_do_is_refused(run, held_out):
    for wrong in ({"clip": True}, {"threshold": 0.99}):
        with pytest.raises(ConfigurationError, match=f"latents in place of pixels; remove {next(iter(wrong))}"):
            run.sample(1, **wrong)
    with pytest.raises(ConfigurationError, match="remove ode"):
        run.bound(held_out, ode=True)
    with pytest.raises(ConfigurationError, match="is a latent diffusion model; this needs a diffusion model"):
        load_as(nelbo.DiffusionRun, run.folder)
    for name, value in (("parameterization", "grid"), ("decoder.kind", "pixels")):
        with pytest.raises(ConfigurationError, match="needs the levels of pixels"):
            preset("latent").with_overrides({name: value})
    with pytest.raises(ConfigurationError, match=r"schedule\.kind='learned' is for models of pixels"):
        preset("latent").with_overrides({"schedule.kind": "learned"})


def test_a_missing_or_damaged_autoencoder_is_reported(folder, tmp_path, run):
    other = trained_on(folder, tmp_path / "run", **{"first_stage.source": str(run.folder)})
    path = other.folder / FILES[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + bytes(8))
    with pytest.raises(RunError, match="damaged"):
        nelbo.load(other.folder)
    path.unlink()
    with pytest.raises(RunError, match="no finished autoencoder"):
        nelbo.load(other.folder)


def test_recipe_survives_json_and_splits_the_budget():
    recipe = preset("latent").with_overrides({"training.minutes": 60.0, "first_stage.share": 0.25})
    assert isinstance(recipe, LatentRecipe)
    assert LatentRecipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe
    assert (recipe.autoencoder_training.minutes, recipe.network_training.minutes) == (15, 45)
    assert recipe.with_overrides({"first_stage.source": "x"}).network_training.minutes == 60


def test_encoded_images_depend_on_seed_and_index_alone(run, held_out):
    latents = EncodedImages(run.space, held_out, seed=3)
    torch.testing.assert_close(latents.images([1]), latents.images([0, 1])[1:], rtol=0, atol=1e-5)
    assert not torch.equal(latents.images([0]), EncodedImages(run.space, held_out, seed=4).images([0]))
    assert torch.equal(latents.subset(torch.tensor([1])).images([0]), latents.images([1]))
