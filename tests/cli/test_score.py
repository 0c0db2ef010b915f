"""`nelbo score`: p-values, unusual images, and the pictures of their bits."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import nelbo
from nelbo.studies import HELD_OUT_FILE
from tests.cli.test_commands import strict

FEW = ("--steps-per-image", 2)


@pytest.fixture
def run(trained, tmp_path):
    """An own copy of the run, with its data in place."""
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def new(trained):
    """The folder of its pictures."""
    return trained.parent / "pictures"


def rows_of(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_p_values_are_given_once_the_held_out_images_are_scored(nelbo_cli, run, new, tmp_path):
    first = nelbo_cli("score", new, "-m", run, *FEW, "--csv", "first.csv")
    assert "--p-values also says which images are unusual" in first.err and "p-value" not in first.out
    assert list(rows_of(tmp_path / "first.csv")[0]) == ["image", "bits_per_dim"]
    asked = nelbo_cli("score", new, "-m", run, *FEW, "--p-values", "--csv", "asked.csv", "--json", "asked.json")
    assert "0 unusual at a false discovery rate of 0.05, compared with 1 held-out image" in " ".join(asked.out.split())
    assert "p-values from 1 held-out image are at least 1, so --fdr 0.05 can flag none among 24 images" in asked.err
    again = nelbo_cli("score", new, "-m", run, *FEW, "--csv", "again.csv")
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "asked.csv").read_text() and again.out == asked.out
    rows, found = rows_of(tmp_path / "asked.csv"), strict((tmp_path / "asked.json").read_text())
    assert list(rows[0]) == ["image", "bits_per_dim", "p_value", "p_two_sided", "adjusted", "flagged"]
    assert found["decisions"] == {"fdr": 0.05, "tails": "both", "num_held_out": 1}
    for row, plain in zip(rows, found["scores"], strict=True):
        assert row["image"] == plain["image"] and float(row["p_value"]) == pytest.approx(plain["p_value"], rel=1e-4)
        assert row["flagged"] == "false" and plain["flagged"] is False
    assert {row["bits_per_dim"] for row in rows} == {row["bits_per_dim"] for row in rows_of(tmp_path / "first.csv")}
    plain = nelbo_cli("score", new, "-m", run, *FEW, "--no-p-values")
    assert "p-value" not in plain.out + plain.err


def test_unusual_images_come_first(nelbo_cli, run, new, tmp_path):
    """Against 24 noisy pictures, those that resemble them are usual, and a black one is too simple."""
    (tmp_path / "new").mkdir()
    for i, path in enumerate(sorted(new.rglob("*.png"))[:4]):
        shutil.copy(path, tmp_path / "new" / f"usual-{i}.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "new" / "black.png")
    command = ("score", "new", "-m", run, *FEW, "--data", new, "--fdr", 0.5, "--csv", "-")
    rows = list(csv.DictReader(nelbo_cli(*command).out.splitlines()))
    [black] = [row for row in rows if row["image"].endswith("black.png")]
    assert float(black["p_two_sided"]) == pytest.approx(2 / 25) and black["flagged"] == "true"
    p_values = [float(row["p_two_sided"]) for row in rows]
    assert p_values == sorted(p_values) and p_values[-1] > p_values[0]
    upper = list(csv.DictReader(nelbo_cli(*command, "--tails", "upper").out.splitlines()))
    p_values = [float(row["p_value"]) for row in upper]
    assert p_values == sorted(p_values)


def test_complexity_is_a_column(nelbo_cli, run, new, tmp_path):
    nelbo_cli("score", new, "-m", run, *FEW, "--complexity", "png", "--csv", "bits.csv")
    rows = rows_of(tmp_path / "bits.csv")
    assert all(float(row["complexity"]) > 8 for row in rows)  # noise, and the header of a file


def test_maps_of_bits_are_numbered_by_rank(nelbo_cli, run, new, tmp_path):
    done = nelbo_cli("score", new, "-m", run, *FEW, "--heat-map", "maps", "--json", "it.json")
    assert done.code == 0, done.err
    found = strict((tmp_path / "it.json").read_text())["scores"]
    stems = [row["image"].rpartition("/")[2].removesuffix(".png") for row in found]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        f"{place:02d}-{stem}.png" for place, stem in enumerate(stems, 1)
    ]


def test_maps_have_the_bits_of_the_scores(nelbo_cli, run, new, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(nelbo.plots, "heat_map_figure", lambda *given: titles.append(given) or Image.new("L", (1, 1)))
    nelbo_cli("score", new, "-m", run, "--heat-map", "maps", "--json", "it.json", "--seed", 4)
    found = strict((tmp_path / "it.json").read_text())["scores"]
    for row, (image, bits, levels, title) in zip(found, titles, strict=True):
        assert float(bits.sum()) == pytest.approx(row["bits_per_dim"] * image.numel(), rel=1e-4)
        assert levels == 256 and title.endswith(f": {row['bits_per_dim']:.3f} bits/dim")


def test_mistakes_are_refused_before_the_work(nelbo_cli, run, new, tmp_path):
    for options, message in (
        (("--fdr", 2), "--fdr is 2.0; expected a number between 0 and 1"),
        (("--tails", "low"), "unknown choice of tails 'low'"),
        (("--complexity", "pgn"), "unknown compressor 'pgn'; did you mean 'png'?"),
        (("--num-held-out", 0), "--num-held-out must be a whole number, at least 1"),
        (("--no-p-values", "--fdr", 0.1), "--no-p-values leaves out what --fdr sets; remove one."),
        (("--no-p-values", "--data", new), "--no-p-values leaves out what --data sets; remove one."),
        (("--heat-map", new), f"--heat-map {new} is the folder of the images or of the run"),
        (("--heat-map", run / "config.json"), "config.json is a file; --heat-map needs a folder"),
    ):
        refused = nelbo_cli("score", new, "-m", run, *options)
        assert refused.code == 2 and message in refused.err, refused.err
    np.save(tmp_path / "wrong.npy", np.zeros((2, 5, 5, 3), np.uint8))
    refused = nelbo_cli("score", new, "-m", run, "--data", "wrong.npy", "--no-resize")
    assert refused.code == 2 and "leave out --no-resize" in refused.err


def test_data_that_is_gone_is_named_with_the_remedy(nelbo_cli, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "moved")
    config = json.loads((run / "config.json").read_text())
    config["data"]["spec"] = str(tmp_path / "gone")
    (run / "config.json").write_text(json.dumps(config))
    pictures = trained.parent / "pictures"
    assert nelbo_cli("score", pictures, "-m", run, *FEW).code == 0
    refused = nelbo_cli("score", pictures, "-m", run, *FEW, "--p-values")
    assert refused.code == 2 and "cannot be read again" in refused.err
    assert nelbo_cli("score", pictures, "-m", run, *FEW, "--data", pictures, "--num-held-out", 20).code == 0
    assert (run / HELD_OUT_FILE).is_file()
