"""A run whose network is a transformer does what every run does: it learns, samples, scores, compresses, exports."""

import json

import pytest
import torch

import nelbo
from nelbo.codec import FittingOptions
from nelbo.interop import export_model
from nelbo.runs import fit_codec
from nelbo.training import METRICS_FILE, MetricsLog

SMALL = {
    "network.width": 32,
    "network.depth": 2,
    "network.heads": 2,
    "network.time_features": 16,
    "schedule.num_steps": 20,
    "training.steps": 60,
    "training.batch_size": 16,
    "training.ema": 0.9,
    "training.log_every": 10,
    "training.warmup": 5,
    "training.precision": "fp32",
}

QUICK = FittingOptions(
    end_images=64, end_steps=20, trial_steps=5, hidden=16, table_images=16, sent_images=4, stops=(4.0,)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "dit"
    return nelbo.train("digits", folder, preset="dit-digits", overrides=SMALL, pictures=False)


@pytest.fixture(scope="module")
def digits():
    return nelbo.load_data("digits").test.subset(torch.arange(6))


def test_it_learns(run):
    records = MetricsLog(run.folder / METRICS_FILE).records()
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0] - 0.3


def test_it_is_loaded_with_its_options(run):
    again = nelbo.load(run.folder)
    assert again.recipe.network == run.recipe.network
    assert json.loads((run.folder / "config.json").read_text())["network"]["kind"] == "dit"
    assert "DiT, width 32, depth 2, patch 2" in str(again.recipe)


def test_it_samples_and_scores(run, digits):
    assert run.sample(3, steps=5, label=1).shape == (3, 1, 8, 8)
    scores = run.score(digits)
    assert scores.shape == (6,) and bool(scores.isfinite().all())


def test_its_files_decode_exactly(run, digits):
    fit_codec(run, digits, QUICK)
    pixels = digits.images(torch.tensor([0]))[0]
    assert torch.equal(run.decompress(run.compress(pixels, effort=1)).image, pixels)


def test_it_is_exported_as_a_program(run, tmp_path):
    export_model(run.folder, tmp_path / "out", format="torch")
    assert (tmp_path / "out").is_dir()
