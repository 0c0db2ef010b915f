"""A run with a learned schedule: its table is stored with the weights, and every reader of a schedule works on it."""

import json

import pytest
import torch

import nelbo
from nelbo.codec import FittingOptions
from nelbo.diffusion import LEARNED, NoiseSchedule
from nelbo.errors import RunError
from nelbo.files import read_tensors, write_tensors
from nelbo.runs import fit_codec
from nelbo.runs.folder import MODEL_FILE
from nelbo.training import STATE_FILE

SMALL = {
    "schedule.kind": "learned",
    "schedule.num_steps": 20,
    "timesteps": "continuous",
    "network.base": 8,
    "network.groups": 4,
    "network.blocks": 1,
    "network.fourier": (1,),
    "training.steps": 30,
    "training.batch_size": 16,
    "training.log_every": 10,
    "training.warmup": 5,
    "training.ema": 0.9,
    "training.decay": "constant",
    "training.precision": "fp32",
}
QUICK = FittingOptions(
    end_images=64, end_steps=20, trial_steps=5, hidden=16, table_images=16, sent_images=4, stops=(4.0,)
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("runs") / "learned"
    return nelbo.train("digits", folder, preset="digits", overrides=SMALL, pictures=False)


@pytest.fixture(scope="module")
def digits():
    return nelbo.load_data("digits").test.subset(torch.arange(6))


def test_schedule_has_learned_and_keeps_its_ends(run):
    fixed = NoiseSchedule.log_linear(20, 9.0, -8.0)
    learned = run.schedule.log_snr[1:]
    torch.testing.assert_close(learned[[0, -1]], fixed.log_snr[[1, -1]], rtol=1e-9, atol=1e-9)
    assert (learned - fixed.log_snr[1:]).abs().max() > 0.3


def test_loading_gives_the_same_table(run):
    again = nelbo.load(run.folder)
    assert torch.equal(again.schedule.alphas_bar, run.schedule.alphas_bar)
    assert torch.equal(again.schedule.network_times, run.schedule.network_times)


def test_a_model_without_its_table_is_reported(run, tmp_path):
    tensors, _ = read_tensors(run.folder / MODEL_FILE)
    tensors.pop(LEARNED)
    (tmp_path / "config.json").write_text((run.folder / "config.json").read_text())
    write_tensors(tmp_path / MODEL_FILE, tensors, {})
    with pytest.raises(RunError, match=r"lacks the learned schedule, schedule\.alphas_bar; train the model again"):
        nelbo.load(tmp_path)


def test_it_samples_scores_and_has_a_bound(run, digits):
    assert run.sample(2, steps=5).shape == (2, 1, 8, 8)
    report = run.bound(digits)
    assert 0 < report.total < 6
    assert run.bound(digits, steps=10).total > 0  # a stride


def test_its_files_decode_exactly(run, digits):
    fit_codec(run, digits, QUICK)
    pixels = digits.images(torch.tensor([0]))[0]
    assert torch.equal(run.decompress(run.compress(pixels, effort=1)).image, pixels)


def test_resume_is_bitwise(run, tmp_path):
    nelbo.train("digits", tmp_path, preset="digits", overrides=SMALL | {"training.steps": 13}, pictures=False)
    nelbo.train("digits", tmp_path, preset="digits", overrides=SMALL, pictures=False)
    ours, theirs = (read_tensors(folder / STATE_FILE)[0] for folder in (run.folder, tmp_path))
    assert any(name.startswith("objective/path.") for name in ours)
    different = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert different == []
    ours, theirs = (read_tensors(folder / MODEL_FILE)[0] for folder in (run.folder, tmp_path))
    assert torch.equal(ours[LEARNED], theirs[LEARNED])


def test_the_recipe_is_stored_by_name(run):
    stored = json.loads((run.folder / "config.json").read_text())
    assert (stored["schedule"]["kind"], stored["timesteps"]) == ("learned", "continuous")
