"""The commands on a folder of measured values."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from nelbo.runs import DiffusionRun, photographs

SETTINGS = (
    "training.batch_size=8",
    "schedule.num_steps=20",
    "network.base=8",
    "network.groups=4",
    "network.multipliers=[1,2]",
    "decoder.hidden=8",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a blank and an umlaut in its name: 24 images of 12 bits with three pages, and a broken one."""
    place = tmp_path_factory.mktemp("measured") / "Größe 1"
    place.mkdir()
    generator = np.random.default_rng(0)
    for i in range(24):
        values = generator.normal(2000, 300, (3, 6, 10)).clip(0, 4095).astype(np.uint16)
        tifffile.imwrite(place / f"{i:02}.tif", values, photometric="minisblack")
    (place / "broken.tif").write_bytes(b"II*\0 broken")
    return place


def test_commands_keep_every_value(nelbo_cli, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DiffusionRun, "codec", lambda self, *a, **k: photographs().codec())
    described = nelbo_cli("data", folder, "--quantum", 1, "--range", "0,4095")
    assert described.code == 0 and "4096" in described.out and "broken.tif" in described.out + described.err
    options = [each for name in SETTINGS for each in ("--set", name)]
    trained = nelbo_cli(
        "train", "--data", folder, "--quantum", 1, "--range", "0,4095", "--out", "run", "--steps", 5, *options
    )
    assert trained.code == 0, trained.err
    assert "4096 levels" in trained.err

    assert nelbo_cli("sample", "run", "--num", 2, "--steps", 3, "--out", "drawn").code == 0
    assert tifffile.imread("drawn/0.tif").dtype == np.uint16 and tifffile.imread("drawn/1.tif").shape == (3, 6, 10)
    assert nelbo_cli("sample", "run", "--num", 2, "--steps", 3, "--out", "drawn.npy").code == 0
    np.testing.assert_array_equal(np.load("drawn.npy")[1], tifffile.imread("drawn/1.tif"))
    Image.fromarray(np.uint8([[255] * 10] * 2 + [[0] * 10] * 4)).save("mask.png")
    restored = nelbo_cli(
        "restore", folder / "00.tif", "-m", "run", "--mask", "mask.png", "--steps", 3, "--num", 2, "-o", "full.tif"
    )
    assert restored.code == 0, restored.err
    found, before = tifffile.imread("full.tif"), tifffile.imread(folder / "00.tif")
    assert found.dtype == np.uint16 and (found[:, 2:] == before[:, 2:]).all() and (found[:, :2] != before[:, :2]).any()
    assert nelbo_cli("score", folder, "-m", "run", "--steps-per-image", 2, "--csv", "bits.csv").code == 0
    assert nelbo_cli("evaluate", "run", "--steps-per-image", 2).code == 0

    assert nelbo_cli("compress", folder, "-m", "run", "-o", "packed", "--json", "sizes.json").code == 0
    again = nelbo_cli("compress", folder, "-m", "run", "-o", "packed")
    assert again.code == 0 and "24 of 24 files exist already and are kept" in again.err
    assert nelbo_cli("decompress", "packed", "-m", "run", "-o", "back").code == 0
    for i in range(24):
        np.testing.assert_array_equal(tifffile.imread(f"back/{i:02}.tif"), tifffile.imread(folder / f"{i:02}.tif"))

    damaged = (tmp_path / "packed" / "03.nelbo").read_bytes()
    (tmp_path / "packed" / "03.nelbo").write_bytes(damaged[:-9] + b"damaged!!")
    (tmp_path / "back" / "05.tif").unlink()
    found = nelbo_cli("decompress", "packed", "-m", "run", "-o", "back")
    assert found.code == 2 and "03.nelbo" in found.err and (tmp_path / "back" / "05.tif").exists()
    refused = nelbo_cli("compress", folder, "-m", "run", "-o", "packed")
    assert refused.code == 2 and "files exist already and are others (packed/03.nelbo)" in refused.err
    for command, message in (
        (("decompress", "packed", "-o", "other"), "name the run by --model"),
        (("compress", folder, "-m", "run", "-o", "new", "--lossy-only"), "compressed losslessly and whole"),
        (("restore", "drawn/0.tif", "-m", "run", "--mask", "mask.png", "-o", "a.png"), "must end in .tif"),
        (("restore", "drawn/0.tif", "-m", "run", "--noise", 5), "--noise needs a model of images of 8 bits"),
    ):
        done = nelbo_cli(*command)
        assert done.code == 2 and message in done.err, done.err
