"""Images of more than 8 bits: a run keeps the range that it was trained with, and every command uses it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nelbo
from nelbo.cli.compress_images import Images
from nelbo.data import DataWarning
from nelbo.runs import DiffusionRun
from tests.cli.conftest import TINY

VALUES = np.random.default_rng(0).integers(0, 4096, (8, 8, 8)).astype(np.uint16)
VALUES[0, 0, :2] = 0, 4095
RIGHT = np.floor(VALUES * (255 / 4095) + 0.5).astype(np.uint8)


@pytest.fixture
def deep(nelbo_cli, tmp_path: Path) -> str:
    """Write eight images of 12 bits in 16 into the folder `deep` of the working folder."""
    (tmp_path / "deep").mkdir()
    for number, image in enumerate(VALUES):
        Image.fromarray(image).save(tmp_path / f"deep/{number}.tif")
    return "deep"


def stored(out: str) -> object:
    return json.loads(Path(out, "config.json").read_text())["data"]["range"]


def test_a_run_uses_its_range_everywhere(nelbo_cli, deep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = nelbo_cli("train", "--data", deep, "--out", "run", *TINY, "--no-pictures")
    note = "8 images have more than 8 bits, with values 0 to 4095; 0..4095 became 0..255"
    assert trained.code == 0 and f"{note}; set another range by --range LOW,HIGH or --range full" in trained.err
    assert stored("run") == [0, 4095]
    run = nelbo.load("run")
    assert nelbo.studies.held_out_part(run)[0].tolist() in RIGHT[:, None].tolist()
    for command in (("score", deep, "-m", "run"), ("evaluate", "run", "--data", deep)):
        shown = nelbo_cli(*command)
        assert shown.code == 0 and f"{note}, as in training." in shown.err
    assert "its values 0 to 4095 became 8 bits" in nelbo_cli("restore", "deep/0.tif", "-m", "run", "--noise", 9).err
    found = Images.of(deep, None, 1, run.config.data.range, "run")
    assert [pixels[0].tolist() for _, pixels in found.pixels(range(8))] == RIGHT.tolist() and not found.rejects
    assert (run.score(RIGHT[:2, None]) == run.score(VALUES[:2, None])).all()
    encoded = []
    monkeypatch.setattr(DiffusionRun, "codec", lambda run: Recorder(encoded))
    with pytest.warns(
        DataWarning, match=r"^3\.tif: its values 0 to 4095 became 8 bits; decoding gives this image back"
    ):
        run.compress("deep/3.tif")
    run.compress(VALUES[3])
    assert [pixels[0].tolist() for pixels in encoded] == [RIGHT[3].tolist()] * 2


class Recorder:
    """Stands in for a codec, whose plan takes long to measure."""

    def __init__(self, encoded: list) -> None:
        self.encoded = encoded

    def encode(self, images: list, **options: object) -> list:
        self.encoded += images
        return [self]

    def to_bytes(self) -> bytes:
        return b""


def test_a_run_resumes_with_its_range_only(nelbo_cli, deep: str) -> None:
    train = ("train", "--data", deep, "--out", "run", *TINY, "--no-pictures", "--range")
    assert nelbo_cli(*train, "100,3000").code == 0 and stored("run") == [100, 3000]
    assert nelbo_cli(*train, "100,3000").code == 0
    assert nelbo_cli("train", "--out", "run", "--no-pictures").code == 0
    other = nelbo_cli(*train, "auto")
    assert other.code == 2 and "--range: [100.0, 3000.0] stored, [0, 4095] given" in other.err


def test_full_range_is_that_of_earlier_runs(nelbo_cli, deep: str) -> None:
    trained = nelbo_cli("train", "--data", deep, "--out", "run", *TINY, "--no-pictures", "--range", "full")
    assert "the images are dark" in trained.err and stored("run") is None
    config = json.loads(Path("run/config.json").read_text())
    del config["data"]["range"]  # as an earlier version wrote it
    Path("run/config.json").write_text(json.dumps(config))
    held_out = nelbo.studies.held_out_part(nelbo.load("run"))
    assert held_out[0].max() <= 16
    assert nelbo_cli("train", "--out", "run", "--no-pictures").code == 0


def test_data_shows_values_and_range(nelbo_cli, deep: str) -> None:
    found = json.loads(nelbo_cli("data", deep, "--json", "-").out)
    assert (found["values"], found["range"], found["modes"]) == ([0, 4095], [0, 4095], {"I;16": 8})
    refused = nelbo_cli("data", deep, "--range", "5")
    assert refused.code == 2 and "--range is '5'; expected auto, full or LOW,HIGH" in refused.err
    np.save("a.npy", VALUES)
    refused = nelbo_cli("data", "a.npy")
    assert refused.code == 2 and "Train with --range 0,4095 or other values" in refused.err
    assert nelbo_cli("data", "a.npy", "--range", "0,4095").code == 0
