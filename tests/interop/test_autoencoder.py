"""The autoencoder of a latent diffusion model and diffusers' `AutoencoderKL`: the same latents and the same images."""

import json

import diffusers
import pytest
import torch

import nelbo
from nelbo.errors import ConfigurationError, RunError
from nelbo.interop import export_model, import_model
from nelbo.latent import Autoencoder, AutoencoderOptions, LatentScale, LatentSpace
from nelbo.runs.latent_space import load_space, save_space
from tests.conftest import write_pictures
from tests.interop.conftest import difference, noise, stirred
from tests.latent.test_run import TINY

SMALL = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (8, 16),
    "norm_num_groups": 4,
    "latent_channels": 3,
    "sample_size": 16,
}


def theirs(**changes):
    torch.manual_seed(0)
    return stirred(diffusers.AutoencoderKL(**{**SMALL, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mid_block_add_attention": False, "layers_per_block": 2},
        {"scaling_factor": 2.0, "shift_factor": 0.3},
        {"latents_mean": (0.1, 0.2, -0.3), "latents_std": (0.5, 1.0, 2.0), "scaling_factor": 1.0},
    ],
)
def test_imported_autoencoder_has_the_same_latents_and_images(tmp_path, changes):
    their = theirs(**changes)
    their.save_pretrained(tmp_path / "theirs")
    notes = import_model(tmp_path / "theirs", tmp_path / "ours").notes
    assert "no scale of p(x|z)" in notes[0]
    space, x_0, z = load_space(tmp_path / "ours"), 0.5 * noise(2, 3, 16, 16), noise(2, 3, 8, 8)
    their_q, our_q = their.encode(x_0).latent_dist, space.autoencoder.posterior(x_0)
    assert difference(our_q.mean, their_q.mean) < 1e-5
    assert difference(our_q.stddev, their_q.std) < 1e-5
    assert difference(space.autoencoder.likelihood(z).mean, their.decode(z).sample) < 1e-5
    config = their.config
    if config.latents_mean is None:
        scaled = (z - (config.shift_factor or 0)) * config.scaling_factor
        assert difference(space.scale.scaled(z), scaled) < 1e-5
    else:
        expected = (z - torch.tensor(config.latents_mean).view(3, 1, 1)) / torch.tensor(config.latents_std).view(
            3, 1, 1
        )
        assert difference(space.scale.scaled(z), expected) < 1e-5


def test_exported_autoencoder_gives_scaled_latents(tmp_path):
    from nelbo.interop.autoencoder_folder import read_autoencoder, write_autoencoder

    options = AutoencoderOptions(shape=(3, 16, 16), base=8, multipliers=(1, 2), groups=4, middle_attention=True)
    autoencoder = stirred(Autoencoder(options))
    scale = LatentScale(noise(4, 1, 1), noise(4, 1, 1, seed=2).abs() + 0.5)
    space = LatentSpace(autoencoder, scale)
    write_autoencoder(space, tmp_path)
    their = diffusers.AutoencoderKL.from_pretrained(tmp_path)
    x_0, u = 0.5 * noise(2, 3, 16, 16), noise(2, 4, 8, 8)
    mean, stddev = space.moments(x_0).chunk(2, 1)
    q = their.encode(x_0).latent_dist
    assert their.config.scaling_factor == 1
    assert difference(q.mean, mean) < 1e-5
    assert difference(q.std, stddev) < 1e-5
    assert difference(their.decode(u).sample, space.decode(u).mean) < 1e-5
    again = read_autoencoder(tmp_path)
    assert difference(again.decode(u).mean, space.decode(u).mean) < 1e-5


def test_wrong_settings_are_refused_by_name(tmp_path):
    theirs().save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    plain = json.loads(path.read_text())
    for name, value in (("act_fn", "gelu"), ("use_quant_conv", False), ("out_channels", 6), ("new_setting", 1)):
        path.write_text(json.dumps({**plain, name: value}))
        with pytest.raises(ConfigurationError, match=name):
            import_model(tmp_path / "theirs", tmp_path / "ours")
    path.write_text(json.dumps({**plain, "block_out_channels": [8, 32]}))
    with pytest.raises(RunError, match="do not match"):
        import_model(tmp_path / "theirs", tmp_path / "ours")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run on the latents of an imported autoencoder, and its pictures."""
    place = tmp_path_factory.mktemp("imported")
    theirs().save_pretrained(place / "theirs")
    import_model(place / "theirs", place / "autoencoder")
    data = write_pictures(place / "pictures", 10, (16, 16))
    overrides = {**TINY, "first_stage.source": str(place / "autoencoder"), "network.multipliers": (1, 2)}
    return nelbo.train(data, place / "run", preset="latent", steps=4, overrides=overrides), place


def test_training_measures_the_scales_of_an_imported_autoencoder(folders):
    run, place = folders
    imported = load_space(place / "autoencoder")
    stored, own = (each.autoencoder.state_dict() for each in (imported, run.space))
    different = [name for name in stored if not torch.equal(stored[name], own[name])]
    assert different == ["log_scale.value"]
    assert not torch.equal(imported.scale.stddev, run.space.scale.stddev)
    images = nelbo.load_data(str(place / "pictures")).train
    found = float(run.bound(images, draws=1).reconstruction)
    with torch.no_grad():
        run.space.autoencoder.log_scale.value += 0.5
    worse = float(run.bound(images, draws=1).reconstruction)
    assert worse > found


def test_pipeline_of_diffusers_draws_from_an_exported_run(folders, tmp_path):
    """With the noise of the first step the same, DDIM of diffusers and ours give the same images, up to rounding."""
    run, _ = folders
    exported = export_model(run.folder, tmp_path / "out", format="diffusers")
    assert any("scales of p(x|z) are not exported" in note for note in exported.notes)
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "out")
    pipeline.set_progress_bar_config(disable=True)
    assert type(pipeline).__name__ == "LDMPipeline"
    u, t = noise(2, 3, 8, 8), 5
    ours = run.network(u, torch.tensor([t, t]))
    theirs = pipeline.unet(u, t - 1).sample  # both are small after a few steps of training
    assert float((theirs - ours).abs().max()) < 1e-4 * float(ours.abs().max())
    assert pipeline.scheduler.config.clip_sample is False
    images = pipeline(batch_size=2, num_inference_steps=4, output_type="np").images
    assert images.shape == (2, 16, 16, 3)


def test_copy_of_a_run_has_its_autoencoder(folders, tmp_path):
    run, _ = folders
    export_model(run.folder, tmp_path / "copy", format="nelbo")
    import_model(tmp_path / "copy", tmp_path / "again")
    assert torch.equal(nelbo.load(tmp_path / "again").sample(2, steps=4), nelbo.load(run.folder).sample(2, steps=4))
    with pytest.raises(ConfigurationError, match="latent diffusion model; only a diffusion model can be exported"):
        export_model(run.folder, tmp_path / "program", format="torch")
    save_space(run.space, tmp_path)
    assert load_space(tmp_path).autoencoder.options == run.space.autoencoder.options
