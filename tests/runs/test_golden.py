"""A run folder written by nelbo 0.1.0 loads, samples and resumes.

tests/runs/golden/0.1.0 was written by 0.1.0: six steps of a tiny U-Net on the digits, calibrated. `samples.npy` are its
samples, `resumed.npy` those after six more steps, both drawn by 0.1.0 with its default sampler, `ancestral`.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import nelbo

GOLDEN = Path(__file__).parent / "golden" / "0.1.0"
BOUND, RESUMED_BOUND = 4.1086867377751854, 4.024478714030962  # bits/dim of 16 held-out digits, computed by 0.1.0


@pytest.fixture
def folder(tmp_path):
    """A copy of the folder, without the arrays that are kept beside it."""
    return shutil.copytree(GOLDEN, tmp_path / "run", ignore=shutil.ignore_patterns("*.npy"))


def assert_same_pixels(images: torch.Tensor, name: str) -> None:
    """Equal up to one level in one pixel of a hundred: other processors round differently."""
    difference = np.abs(images.numpy().astype(int) - np.load(GOLDEN / name).astype(int))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def bound_of(run: nelbo.DiffusionRun) -> float:
    return run.bound(nelbo.load_data("digits").test.subset(torch.arange(16)), seed=2).total


def test_a_run_of_0_1_0_loads_and_samples(folder):
    run = nelbo.load(folder, device="cpu")
    assert run.calibrated
    assert_same_pixels(run.sample(4, sampler="ancestral", steps=5, seed=1), "samples.npy")
    assert bound_of(run) == pytest.approx(BOUND, abs=1e-4)


def test_a_run_of_0_1_0_resumes(folder):
    run = nelbo.train(None, folder, overrides={"training.steps": 12})
    assert_same_pixels(run.sample(4, sampler="ancestral", steps=5, seed=1), "resumed.npy")
    assert bound_of(run) == pytest.approx(RESUMED_BOUND, abs=1e-4)


def test_a_run_of_0_1_0_keeps_its_settings(folder):
    with pytest.raises(nelbo.NelboError, match=r"network\.base: 4 stored, 32 given"):
        nelbo.train("digits", folder, preset="digits", overrides={"network.base": 32})
