"""`nelbo frechet`: the distance with all that it depends on, and errors in one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nelbo
from tests.cli.conftest import TINY


class Rows(nn.Module):
    """Two features per image."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((1, 3))[:, :2]


@pytest.fixture
def rows(tmp_path: Path, trained: Path) -> Path:
    shape = json.loads((trained / "config.json").read_text())["data"]["shape"]
    path, images = tmp_path / "rows.pt2", torch.zeros(2, *shape, dtype=torch.uint8)
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(Rows(), (images,), dynamic_shapes=({0: batch},)), path)
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
    assert (found["sampler"], found["spacing"], found["guidance"]) == ("dpm-solver++sde", "karras", 1.8)
    assert f"Frechet distance {found['distance']:.4g} (95% interval" in done.out
    assert "6 generated images against 23 training images of pictures" in done.out
    assert "features rows.pt2: 2 of a torch.export program" in done.out


def test_warning_of_images_read_twice_is_printed_once(nelbo_cli, trained: Path):
    """For the features and for the comparison, the command reads the images of the run."""
    shutil.copytree(trained.parent, "copy")
    config = json.loads(Path("copy/run/config.json").read_text())
    config["data"]["spec"] = "copy/pictures"
    Path("copy/run/config.json").write_text(json.dumps(config))
    Path("copy/pictures/raw.cr2").write_bytes(b"")
    options = ("--reference", "train", "--num", 6, "--steps", 2, "--resamples", 20, "--device", "cpu")
    done = nelbo_cli("frechet", "copy/run", *options)
    assert done.code == 0, done.err
    assert done.err.count("1 picture is left out") == 1


def test_other_images_can_be_compared_with(nelbo_cli, trained: Path, rows: Path, tmp_path: Path):
    """Also by a run whose own images cannot be read, which then has no classifier. A damaged file is named."""
    moved = shutil.copytree(trained, tmp_path / "moved")
    config = json.loads((moved / "config.json").read_text())
    config["data"]["spec"] = str(tmp_path / "gone")
    (moved / "config.json").write_text(json.dumps(config))
    others = shutil.copytree(trained.parent / "pictures", tmp_path / "others")
    (others / "damaged.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    options = ("--num", 6, "--steps", 2, "--resamples", 20, "--device", "cpu")
    for run, features, said in ((trained, ("--features", rows), "rows.pt2"), (moved, (), "an untrained network")):
        done = nelbo_cli("frechet", run, *options, *features, "--data", others)
        assert done.code == 0, done.err
        assert "6 generated images against 24 images of" in done.out and said in " ".join(done.out.split())
        assert done.err.count("skipped") == 1 and "damaged.png" in done.err
    refused = nelbo_cli("frechet", moved, *options)
    assert refused.code == 2 and "cannot be read again" in refused.err


def test_mistakes_are_one_sentence(nelbo_cli, trained: Path, rows: Path):
    for arguments, message in (
        (("--features", rows, "--num", 4, "--steps", 2), "1 reference image cannot have a covariance"),
        (("--features", rows, "--reference", "both"), "part of the data (--reference)"),
        (("--features", rows, "--guidance-interval", 0.8, 0.1), "must be two rising shares"),
        (("--features", "absent.pt2"), "is no file"),
        (("--reference", "train", "--data", "digits"), "--data replaces the images that --reference names"),
    ):
        done = nelbo_cli("frechet", trained, *arguments, "--device", "cpu")
        assert done.code == 2 and message in done.err, done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--num", 1), "1 generated image cannot have a covariance"),
        (("--num", 4, "--reference", "train", "--resamples", 3), "--resamples must be at least 20, got 3"),
    ],
)
def test_impossible_comparison_is_refused_before_sampling(nelbo_cli, trained, rows, monkeypatch, arguments, message):
    monkeypatch.setattr(nelbo.runs.DiffusionRun, "sample", lambda *_, **__: pytest.fail("it sampled first"))
    done = nelbo_cli("frechet", trained, "--features", rows, *arguments, "--device", "cpu")
    assert done.code == 2 and message in done.err


@pytest.mark.slow
def test_other_images_get_a_classifier_of_their_classes(nelbo_cli, tmp_path: Path):
    generator = np.random.default_rng(0)
    images = (
        generator.integers(0, 256, (120, 8, 8, 3), dtype=np.uint8) // 2
        + 127 * (np.arange(120) % 2)[:, None, None, None]
    )
    np.savez("two.npz", images=images.astype(np.uint8), labels=np.arange(120) % 2)
    assert nelbo_cli("train", "--data", "two.npz", "--held-out", 40, "--out", "run", *TINY).code == 0
    options = ("--num", 40, "--steps", 2, "--resamples", 20, "--device", "cpu")
    done = nelbo_cli("frechet", "run", *options)
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert (
        "features two classifier: 32 of a small convolutional network trained on the labels of two, accuracy 100.0%"
        in text
    )
    kept = Path("run/classifier.safetensors")
    before = kept.stat().st_mtime_ns
    assert nelbo_cli("frechet", "run", *options).out == done.out and kept.stat().st_mtime_ns == before


def test_images_without_classes_get_a_random_network(nelbo_cli, tmp_path: Path):
    np.save("some.npy", np.random.default_rng(0).integers(0, 256, (80, 8, 8), dtype=np.uint8))
    assert nelbo_cli("train", "--data", "some.npy", "--held-out", 40, "--out", "run", *TINY).code == 0
    done = nelbo_cli("frechet", "run", "--num", 40, "--steps", 2, "--resamples", 20, "--device", "cpu")
    assert done.code == 0, done.err
    assert "its distances show gross differences only" in " ".join(done.out.split())
    assert not Path("run/classifier.safetensors").exists()
