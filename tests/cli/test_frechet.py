"""`nelbo frechet`: the distance with all that it depends on, and errors in one sentence."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import nelbo

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


class Rows(nn.Module):
    """Two features per image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((1, 3))[:, :2]


@pytest.fixture
def rows(tmp_path: Path, trained: Path) -> Path:
    shape = json.loads((trained / "config.json").read_text())["data"]["shape"]
    path = tmp_path / "rows.pt"
    torch.jit.trace(Rows(), torch.zeros(2, *shape, dtype=torch.uint8)).save(str(path))
    return path


def test_distance_is_printed_and_written(nelbo_cli, trained: Path, rows: Path):
    done = nelbo_cli(
        *("frechet", trained, "--features", rows, "--reference", "train", "--num", 6, "--steps", 2),
        *("--resamples", 20, "--seed", 3, "--json", "found.json", "--precision", "fp32", "--device", "cpu"),
    )
    assert done.code == 0, done.err
    found = json.loads(Path("found.json").read_text())
    assert found["low"] <= found["distance"] <= found["high"]
    assert (found["num_generated"], found["num_reference"], found["seed"], found["steps"]) == (6, 23, 3, 2)
    assert (found["sampler"], found["spacing"]) == ("dpm-solver++sde", "karras")
    assert f"Frechet distance {found['distance']:.4g} (95% interval" in done.out
    assert "6 generated images against 23 training images of pictures" in done.out
    assert "features rows.pt: 2 of a TorchScript module" in done.out


def test_mistakes_are_one_sentence(nelbo_cli, trained: Path, rows: Path):
    for arguments, message in (
        ((), "set --features to"),
        (("--features", rows, "--num", 4, "--steps", 2), "1 reference image(s) have no covariance"),
        (("--features", rows, "--reference", "both"), "part of the data (--reference)"),
        (("--features", "absent.pt"), "is no file"),
    ):
        done = nelbo_cli("frechet", trained, *arguments, "--device", "cpu")
        assert done.code == 2 and message in done.err, done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num", 1), "1 generated image(s) have no covariance"),
        (("--num", 4, "--reference", "train", "--resamples", 3), "--resamples must be at least 20, got 3"),
    ],
)
def test_impossible_comparison_is_refused_before_sampling(nelbo_cli, trained, rows, monkeypatch, arguments, message):
    monkeypatch.setattr(nelbo.runs.DiffusionRun, "sample", lambda *_, **__: pytest.fail("it sampled first"))
    done = nelbo_cli("frechet", trained, "--features", rows, *arguments, "--device", "cpu")
    assert done.code == 2 and message in done.err
