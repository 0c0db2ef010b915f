"""The commands take what lies beside images, and refuse what the model does not take in the words of the library."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nelbo
from nelbo.cli.options import parse_vector
from nelbo.errors import ConfigurationError
from tests.cli.conftest import TINY
from tests.studies.test_conditions import GREY, HALF, MISSING, NUMBERS

BESIDE = ("--mask", "masks", "--table", "table.csv", "--condition-images", "half")


@pytest.fixture
def pairs(nelbo_cli, tmp_path: Path) -> None:
    """Write images and what lies beside them into the working folder."""
    for name, images in (("images", GREY), ("half", HALF), ("masks", np.where(MISSING, 255, 0).astype(np.uint8))):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i:02d}.png")
    rows = "".join(f"{i:02d}.png,{a},{b}\n" for i, (a, b) in enumerate(NUMBERS))
    (tmp_path / "table.csv").write_text(f"image,age,depth\n{rows}")


@pytest.mark.usefixtures("pairs")
def test_data_reports_the_share_of_masked_pixels(nelbo_cli, tmp_path: Path):
    for options in ((), ("--quantum", 1)):
        done = nelbo_cli("data", "images", "--mask", "masks", *options, "--json", "report.json")
        assert done.code == 0, done.err
        assert json.loads(Path("report.json").read_text())["missing"] == pytest.approx(MISSING.mean())
    for spec in ("digits", "stream:images.tar"):
        refused = nelbo_cli("data", spec, "--mask", "masks")
        assert refused.code == 2 and "mask" in refused.err
    Image.fromarray(GREY[0][:4]).save(tmp_path / "images" / "00.png")
    refused = nelbo_cli("data", "images", "--mask", "masks")
    assert refused.code == 2 and "several sizes, so --mask is read in training only, with --size" in refused.err
    (tmp_path / "masks" / "05.png").unlink()
    (tmp_path / "images" / "00.png").unlink()
    refused = nelbo_cli("data", "images", "--mask", "masks")
    assert refused.code == 2 and "--mask has no picture for 05.png" in refused.err


@pytest.mark.usefixtures("pairs")
def test_every_command_takes_the_pairs_of_a_run(nelbo_cli):
    trained = nelbo_cli("train", "--data", "images", "--out", "run", *BESIDE, *TINY, "--no-pictures")
    assert trained.code == 0, trained.err
    assert nelbo_cli("evaluate", "run", "--json", "own.json").code == 0
    assert nelbo_cli("evaluate", "run", "--data", "images", *BESIDE, "--json", "all.json").code == 0
    assert json.loads(Path("all.json").read_text())["observed"] == pytest.approx(1 - MISSING.mean())
    assert nelbo_cli("score", "images", "-m", "run", *BESIDE, "--csv", "scores.csv", "--steps-per-image", 8).code == 0
    run = nelbo.load("run")
    told = run.beside(GREY, mask=MISSING, table=NUMBERS, condition_images=HALF)
    by_file = {line.split(",")[0]: float(line.split(",")[1]) for line in Path("scores.csv").read_text().split()[1:]}
    scores = run.score(told, steps_per_image=8).tolist()
    assert [by_file[f"images/{i:02d}.png"] for i in range(24)] == pytest.approx(scores)

    told = ("--vector", "age=3,depth=91", "--condition-image", "half/03.png", "--guidance", 2)
    assert nelbo_cli("sample", "run", "--num", 2, "--steps", 3, *told, "--out", "x.npy").code == 0
    drawn = run.sample(2, steps=3, vector=[3, 91], condition_image=HALF[3], guidance=2)
    assert np.array_equal(np.load("x.npy"), drawn.numpy())
    each = ("--condition-image", "half", "--num", 24, "--batch-size", 10, "--mask", "masks/00.png", "--steps", 2)
    assert nelbo_cli("sample", "run", *each, "--out", "y.npy").code == 0
    assert bool((np.load("y.npy")[:, 0][:, MISSING[0]] == 0).all())
    restored = ("restore", "half/03.png", "-m", "run", "--upscale", 2, "--num", 2, "--steps", 2, *told)
    assert nelbo_cli(*restored).code == 0

    assert "expected 2 numbers (age, depth)" in nelbo_cli("sample", "run", "--vector", "1").err
    assert "give one image, or --num 24" in nelbo_cli("sample", "run", "--condition-image", "half", "--num", 3).err
    assert "--guidance follows a condition" in nelbo_cli("sample", "run", "--guidance", 2).err
    assert "belong to --data" in nelbo_cli("evaluate", "run", "--mask", "masks").err
    Path("half/05.png").unlink()
    missing = nelbo_cli("evaluate", "run", "--data", "images", *BESIDE)
    assert missing.code == 2 and "--condition-images has no picture for 05.png" in missing.err


@pytest.mark.usefixtures("pairs")
def test_nan_in_a_file_of_arrays_is_a_missing_pixel(nelbo_cli):
    np.save("nan.npy", np.where(MISSING, np.nan, GREY / 255.0))
    trained = nelbo_cli("train", "--data", "nan.npy", "--out", "run", *TINY, "--no-pictures")
    assert trained.code == 0 and "missing pixels" in trained.err
    assert nelbo_cli("evaluate", "run", "--data", "nan.npy", "--json", "all.json").code == 0
    assert json.loads(Path("all.json").read_text())["observed"] == pytest.approx(1 - MISSING.mean())
    assert nelbo_cli("evaluate", "run", "--json", "own.json").code == 0


def test_vectors_are_numbers_or_columns():
    assert parse_vector("1.5, -3") == [1.5, -3.0] and parse_vector("age=2,depth=1e3") == {"age": 2.0, "depth": 1e3}
    assert parse_vector(None) is None
    for wrong in ("old", "age=2,3", ""):
        with pytest.raises(ConfigurationError, match="neither numbers"):
            parse_vector(wrong)
