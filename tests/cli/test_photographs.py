"""`nelbo compress` without a model: colour photographs of any size."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.masking.tiny import picture


@pytest.fixture
def photo(tmp_path):
    """A small picture in colour, whose channels share the noise."""
    path, grey = tmp_path / "photo.png", picture(45, 70, channels=1)[0].numpy()
    Image.fromarray(np.stack([grey, grey // 2 + 60, grey // 4], 2)).save(path)
    return path


def test_photograph_needs_no_model(nelbo_cli, photo, tmp_path):
    file, back = tmp_path / "photo.nelbo", tmp_path / "back.png"
    assert nelbo_cli("compress", photo, "-o", file).code == 0
    assert file.stat().st_size < photo.stat().st_size
    assert nelbo_cli("decompress", file, "-o", back).code == 0
    assert np.array_equal(np.asarray(Image.open(photo)), np.asarray(Image.open(back)))
    seen = tmp_path / "seen.png"
    assert nelbo_cli("decompress", file, "-o", seen, "--bytes", file.stat().st_size // 3).code == 0
    error = np.asarray(Image.open(seen)).astype(float) - np.asarray(Image.open(photo))
    assert 0 < np.sqrt((error**2).mean()) < 40
    assert nelbo_cli("inspect", file, "--original", photo, "--json", tmp_path / "parts.json").code == 0
    assert json.loads((tmp_path / "parts.json").read_text())["segments"][-1]["rmse"] == 0
    assert nelbo_cli("compress", photo, "-o", tmp_path / "small.nelbo", "--rmse", 12).code == 0
    assert (tmp_path / "small.nelbo").stat().st_size < file.stat().st_size


def test_model_of_photographs_may_be_named(nelbo_cli, photo, tmp_path):
    assert nelbo_cli("compress", photo, "-o", tmp_path / "a.nelbo").code == 0
    assert nelbo_cli("compress", photo, "-m", "photographs", "-o", tmp_path / "b.nelbo").code == 0
    assert (tmp_path / "a.nelbo").read_bytes() == (tmp_path / "b.nelbo").read_bytes()


def test_grey_image_is_refused(nelbo_cli, tmp_path):
    Image.fromarray(picture(20, 20, channels=1)[0].numpy()).save(tmp_path / "grey.png")
    result = nelbo_cli("compress", tmp_path / "grey.png", "-o", tmp_path / "grey.nelbo")
    assert result.code == 2
    assert "grey" in result.err
    assert "photographs" in result.err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--report"], "needs a diffusion model"),
        (["--integers"], "--integers is for diffusion models"),
        (["--no-integers"], "--no-integers is for diffusion models"),
        (["--lossy-only"], "limit --max-bytes"),
    ],
)
def test_flags_of_diffusion_models_are_refused(nelbo_cli, photo, tmp_path, flags, said):
    result = nelbo_cli("compress", photo, "-o", tmp_path / "photo.nelbo", *flags)
    assert result.code == 2
    assert said in result.err
    assert not (tmp_path / "photo.nelbo").exists()


@pytest.mark.parametrize(
    "command", [["sample"], ["evaluate"], ["score", "."], ["pack", ".", "-o", "x.nelbos"], ["codec"], ["studio"]]
)
def test_other_commands_refuse_the_model(nelbo_cli, tmp_path, command):
    name, *rest = command
    model = ["-m", "photographs"] if name in ("score", "pack") else ["photographs"]
    result = nelbo_cli(name, *rest, *model)
    assert result.code == 2
    assert "only codes pictures" in result.err
