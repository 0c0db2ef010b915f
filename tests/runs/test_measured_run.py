"""A run of measured values from training to files."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import nelbo
from nelbo.codec.measured_codec import MeasuredCodec
from nelbo.codec.measured_file import MeasuredFile
from nelbo.data import measured_dataset
from nelbo.engines.scoring import model_fingerprint
from nelbo.errors import ConfigurationError, DataError, ShapeError
from nelbo.evaluation import measure_bound
from nelbo.refinement import coarse
from nelbo.runs import values_of
from nelbo.runs.masking_run import photographs
from tests.conftest import made_once

SHAPE = (3, 6, 10)
SETTINGS = {
    "training.steps": 20,
    "training.batch_size": 8,
    "schedule.num_steps": 20,
    "network.base": 8,
    "network.groups": 4,
    "network.multipliers": [1, 2],
    "decoder.hidden": 8,
}


def images(num, seed):
    """Draw images of noise around a slope, in steps of 1/8."""
    generator = np.random.default_rng(seed)
    slope = np.linspace(-100, 100, SHAPE[2]) * generator.uniform(-1, 1, (num, 3, 1, 1))
    return ((slope + generator.normal(0, 20, (num, *SHAPE))) * 8).round().astype(np.float32) / 8


@pytest.fixture(scope="session")
def measured_folder(tmp_path_factory):
    def make(folder):
        nelbo.train(images(60, 0), folder, quantum=0.125, range=(-320, 320), overrides=SETTINGS)

    return made_once(tmp_path_factory, "measured", make)


@pytest.fixture(scope="module")
def run(measured_folder):
    return nelbo.load(measured_folder, device="cpu")


def test_the_configuration_states_the_scale(run):
    scale = run.config.data.level_scale
    assert (scale.low, scale.high, scale.quantum, scale.levels, scale.dtype) == (-320, 320, 0.125, 5121, "float32")
    assert (run.levels, run.config.data.levels, run.shape) == (5121, 161, SHAPE)


def test_the_bound_is_that_of_the_coarse_levels_and_the_bits_of_the_digits(run):
    dataset = measured_dataset(images(8, 1), run.config.data.level_scale)
    report = run.bound(images(8, 1), steps_per_image=4)
    chain = measure_bound(run.reverse(), coarse(dataset), steps_per_image=4, proposal=run._proposal(run.reverse()))
    digits = run.refinement.nats(dataset.images(range(8))).flatten(1).mean(1) / math.log(2)
    torch.testing.assert_close(report.scores, chain.scores + digits)
    assert report.prior + report.denoising + report.decoder == pytest.approx(report.total)
    assert report.total == pytest.approx(float(report.scores.mean()))
    assert report.levels == 5121


def test_a_heat_map_sums_to_the_score(run):
    image = images(1, 2)[0]
    score = float(run.score(image[None], steps_per_image=4)[0])
    assert float(run.heat_map(image, steps_per_image=4).bits.mean()) == pytest.approx(score, abs=1e-6)


def test_samples_have_the_levels_and_values_of_the_scale(run):
    drawn = run.sample(3, seed=5, steps=4)
    assert drawn.dtype == torch.int32 and drawn.shape == (3, *SHAPE) and int(drawn.max()) < 5121
    assert torch.equal(run.sample(2, first=1, seed=5, steps=4, batch_size=1), drawn[1:])
    values = run.config.data.level_scale.to_values(drawn)
    assert values.dtype == np.float32 and np.abs(values).max() <= 320


def test_values_outside_of_the_scale_are_refused(run):
    with pytest.raises(DataError, match=r"values from .* but the levels stand for -320 to 320"):
        run.score(images(1, 0) + 500)


def test_files_hold_the_bits_of_the_digits_and_give_the_values_back(run):
    codec = MeasuredCodec(photographs().codec(), run.config.data.level_scale, run.refinement)
    levels = measured_dataset(images(2, 3), run.config.data.level_scale).images([0, 1])
    for image, file in zip(levels, codec.encode(list(levels)), strict=True):
        bits = float(run.refinement.nats(image[None]).sum()) / math.log(2)
        assert bits <= 8 * file.length <= bits + 32
        assert torch.equal(codec.decode(MeasuredFile.from_bytes(file.to_bytes())).image, image)


def test_training_resumes_and_a_finished_refinement_stays(measured_folder):
    before = (measured_folder / "refinement.safetensors").stat().st_mtime_ns
    nelbo.train(images(60, 0), measured_folder, quantum=0.125, range=(-320, 320), overrides=SETTINGS)
    assert (measured_folder / "refinement.safetensors").stat().st_mtime_ns == before


def test_missing_pixels_are_restored_and_known_ones_come_back_exactly(run):
    image, mask = images(1, 5)[0], torch.zeros(SHAPE[1:], dtype=torch.bool)
    mask[1:4, 2:7] = True
    scale = run.config.data.level_scale
    restored = run.restore(image, mask=mask, num=3, steps=4)
    values = values_of(restored, scale)
    assert values.dtype == np.float32 and restored.levels == 5121
    assert (values[:, :, ~mask] == image[:, ~mask]).all()
    assert (restored.spread[:, mask] > 0).any() and (restored.spread[:, ~mask] == 0).all()
    assert len(np.unique(restored.draws[:, :, mask] % 32)) > 16  # every digit is drawn, not only the coarse level

    broken = np.where(mask, np.nan, image)
    assert torch.equal(run.restore(broken, mask="nan", num=3, steps=4).draws, restored.draws)
    other = np.where(mask, 7, image).astype(np.float32)
    assert torch.equal(run.restore(other, mask=mask, num=3, steps=4).draws, restored.draws)


@pytest.mark.filterwarnings("ignore::nelbo.recipes.fitting.AssemblyWarning")
def test_what_is_not_supported_is_refused(run):
    with pytest.raises(ConfigurationError, match="noise needs a model of images of 8 bits"):
        run.restore(images(1, 0)[0], noise=0.1)
    with pytest.raises(ConfigurationError, match="no pixel is missing"):
        run.restore(images(1, 0)[0], mask="nan")
    with pytest.raises(ShapeError, match=r"the damaged image is 3 x 6 x 9 .* the model needs 3 x 6 x 10"):
        run.restore(images(1, 0)[0][..., :9], mask="nan")
    with pytest.raises(DataError, match="the mask is 3x2, but the image is 10x6"):
        run.restore(images(1, 0)[0], mask=np.ones((2, 3), bool))
    with pytest.raises(ConfigurationError, match="images of 5,121 levels need a diffusion model"):
        nelbo.train(images(20, 0), "unused", preset="vae-digits", quantum=0.125, range=(-320, 320), steps=1)


def test_the_chain_is_trained_on_coarse_levels(run):
    dataset = measured_dataset(images(4, 1), run.config.data.level_scale)
    assert coarse(dataset).levels == run.config.data.levels
    assert run.glance(dataset)["held_out_bits_per_dim"] > 0


def test_the_digest_tells_refinements_apart(run):
    other = replace(run, refinement=None)
    assert other.digest() != run.digest()
    assert model_fingerprint(other) != model_fingerprint(run)


def test_a_file_gives_its_mask_back_in_python(run, monkeypatch):
    monkeypatch.setattr(type(run), "codec", lambda self, *a, **k: photographs().codec())
    image = images(1, 4)[0]
    image[1, 2, 3] = np.nan
    found = run.decompress(run.compress(image))
    assert found.status == "lossless" and found.pictures() == {}
    np.testing.assert_array_equal(run.config.data.level_scale.to_values(found.image, found.observed), image)


def test_values_at_missing_pixels_change_nothing(run):
    one, hole = images(2, 5), np.zeros((2, 6, 10), bool)
    hole[:, 2:4, 3:5] = True
    two = np.where(hole[:, None], np.float32(1e6), one)  # far outside of the scale
    first, second = (run.beside(each, mask=hole) for each in (one, two))
    assert torch.equal(first.images([0, 1]), second.images([0, 1]))
    assert torch.equal(first.observed([0, 1]), torch.from_numpy(~hole[:, None]).expand(2, *SHAPE))
