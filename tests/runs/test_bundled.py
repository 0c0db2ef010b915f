"""The bundled models keep their pixels and bits/dim from release to release."""

from pathlib import Path

import pytest
import torch

import nelbo
from nelbo.errors import DataError
from nelbo.runs import bundled_models, find_run
from nelbo.studies import data_of
from tests.conftest import write_pictures

# Sums of pixels of samples 0 and 1 at seed 0 in 5 steps of Algorithm 2, and the bound of two flat images at 4 t each.
GOLDEN = {"avatars": ([491373, 537242], 2.15013), "fashion-mnist": ([42305, 83183], 1.32649)}


def test_a_folder_of_images_does_not_hide_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatars").mkdir()
    assert find_run("avatars") == bundled_models()["avatars"]
    (tmp_path / "avatars" / "config.json").write_text("{}")
    assert find_run("avatars") == Path("avatars")


@pytest.mark.parametrize("images", [0, 3])
def test_the_images_of_avatars_are_not_bundled(tmp_path, monkeypatch, images):
    monkeypatch.chdir(tmp_path)
    if images:
        write_pictures(tmp_path / "avatars", images, (32, 32))
    with pytest.raises(DataError, match="images of the bundled model avatars are not part of nelbo; its card"):
        data_of(nelbo.load("avatars", device="cpu"))


def test_damaged_images_of_avatars_are_not_absent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "avatars").mkdir()
    with pytest.raises(DataError, match=r"cannot be read again: .*avatars holds no images"):
        data_of(nelbo.load("avatars", device="cpu"))


def test_every_model_has_golden_values():
    assert set(bundled_models()) == set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_pixels_and_bits(name):
    """Compare with the golden values, up to the rounding of other processors."""
    run = nelbo.load(name, device="cpu")
    pixels, bits = GOLDEN[name]
    samples = run.sample(2, sampler="ancestral", steps=5, seed=0, precision="fp32")
    assert samples.flatten(1).sum(1).tolist() == pytest.approx(pixels, rel=2e-3)
    flat = torch.tensor([0, 128], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, *run.shape)
    assert run.bound(flat, steps_per_image=4).total == pytest.approx(bits, rel=2e-3)
