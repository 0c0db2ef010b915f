"""Every figure of `nelbo plot` on tiny runs, and its error messages."""

import json
import math

import numpy as np
import pytest
from PIL import Image

import nelbo
from nelbo.data.toy_sets import TOYS

TINY_POINTS = {
    "schedule.kind": "log-linear",
    "schedule.num_steps": 10,
    "network.width": 8,
    "network.depth": 1,
    "training.steps": 4,
    "training.batch_size": 32,
    "training.warmup": 1,
    "training.log_every": 2,
    "training.precision": "fp32",
}


@pytest.fixture(scope="session")
def points(tmp_path_factory):
    """`points("moons")` returns the folder of a run on that toy set."""
    place, made = tmp_path_factory.mktemp("points"), {}

    def folder(name: str):
        if name not in made:
            made[name] = nelbo.train(f"toy:{name}", place / name, overrides=TINY_POINTS).folder
        return made[name]

    return folder


def colours(path) -> int:
    with Image.open(path) as picture:
        assert picture.width > 200
        return len(picture.convert("RGB").getcolors(10**7))


def test_shared_latents_are_drawn(nelbo_cli, trained, tmp_path):
    assert nelbo_cli("plot", "shared", trained, "--num", 2, "--rows", 3, "--steps", 5).code == 0
    assert colours(tmp_path / "shared.png") > 50


def test_interpolation_is_drawn(nelbo_cli, trained, tmp_path):
    data = ("--data", trained.parent / "pictures")
    line = ("plot", "interpolation", trained, *data, "--pair", 3, 1, "--columns", 3, "--rows", 2, "--steps", 5)
    assert nelbo_cli(*line).code == 0
    assert colours(tmp_path / "interpolation.png") > 50


def test_neighbours_are_printed_written_and_drawn(nelbo_cli, trained, tmp_path):
    line = ("plot", "neighbours", trained, "--num", 3, "--neighbours", 2, "--steps", 5)
    shown = nelbo_cli(*line, "--json", "near.json")
    assert shown.code == 0
    assert "3 samples: RMSE to the nearest of 23 training images" in shown.out
    assert "1 held-out images: RMSE" in shown.out
    found = json.loads((tmp_path / "near.json").read_text())
    assert (len(found["samples"]), len(found["held_out"]), found["num_train"]) == (3, 1, 23)
    for row in [*found["samples"], *found["held_out"]]:
        assert len(row["indices"]) == 2 and 0 < row["distances"][0] <= row["distances"][1] < 255
        assert all(0 <= index < 23 for index in row["indices"])
    assert colours(tmp_path / "neighbours.png") > 50
    other = json.loads(nelbo_cli(*line, "--data", trained.parent / "pictures", "--json", "-").out)
    assert other["held_out"] == [] and len(other["samples"]) == 3


@pytest.mark.parametrize("name", TOYS)
def test_points_of_every_toy_set(nelbo_cli, points, tmp_path, name):
    shown = nelbo_cli("plot", "points", points(name), "--num", 300, "--columns", 3, "--json", "it.json")
    assert shown.code == 0, shown.err
    assert colours(tmp_path / "points.png") > 20
    found = json.loads((tmp_path / "it.json").read_text())
    assert list(found["score_error"]) == ["10", "5"]
    assert all((error is None) == (name != "eight-gaussians") for error in found["score_error"].values())
    assert ("learned score against exact score" in shown.out) == (name == "eight-gaussians")
    gap = found["gap"]
    if name in ("moons", "spiral"):
        assert gap is None
        assert f"the density of toy:{name} is not known in closed form" in shown.out
        return
    assert gap["at_least"] == pytest.approx(gap["samples"]["raw"] - gap["samples"]["floor"])
    assert gap["at_most"] == pytest.approx(gap["bound"] - gap["entropy"])
    assert 0 < gap["at_least"] < gap["at_most"]  # four steps of training learn nothing
    cell = 2 * math.log(8 / 255)
    known = {"checkerboard": math.log(8), "eight-gaussians": math.log(8) + 1 + math.log(2 * math.pi * 0.02)}
    assert gap["entropy"] == pytest.approx(known[name] - cell, abs=0.02)  # of the density, on a grid of levels


@pytest.mark.parametrize(
    ("figure", "options", "frames"),
    [
        ("forward", ("--data", "pictures", "--num", 2, "--columns", 4), 4),
        ("progressive", ("--num", 2, "--steps", 5, "--columns", 3), 3),
    ],
)
@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations_of_images(nelbo_cli, trained, tmp_path, figure, options, frames, ending):
    options = [trained.parent / "pictures" if option == "pictures" else option for option in options]
    assert nelbo_cli("plot", figure, trained, *options, "--animate", "--out", f"it.{ending}").code == 0
    with Image.open(tmp_path / f"it.{ending}") as picture:
        assert picture.n_frames == frames


def test_animation_of_points(nelbo_cli, points, tmp_path):
    assert nelbo_cli("plot", "points", points("moons"), "--num", 50, "--columns", 3, "--animate").code == 0
    with Image.open(tmp_path / "points.gif") as picture:
        assert picture.n_frames == 6  # forward and reverse chain


@pytest.mark.parametrize("figure", ["forward", "progressive", "shared", "interpolation", "neighbours"])
def test_figures_of_images_refuse_points(nelbo_cli, points, figure):
    shown = nelbo_cli("plot", figure, points("moons"))
    assert shown.code == 2
    assert "does not generate images of 1 or 3 channels; `nelbo plot points" in shown.err


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (("points", "RUN"), "generates images of 3 x 8 x 8, not points; draw them by `nelbo plot progressive`"),
        (("interpolation", "RUN", "--data", "DATA", "--pair", 0, 24), "--pair 0 24: the images of"),
        (("interpolation", "RUN", "--data", "DATA", "--pair", 0, 24), "are numbered 0..23"),
        (("neighbours", "RUN", "--num", 1, "--steps", 1, "--neighbours", 24), "--neighbours must be within 1..23"),
        (("shared", "RUN", "--steps", 11), "11"),
        (("forward", "RUN", "--data", "digits"), "digits has 17 levels and the model was trained on 256"),
        (
            ("progressive", "nowhere", "--animate", "--out", "it.png"),
            "must end in one of .gif, .webp",
        ),  # checked before the run
        (("points", "nowhere", "--out", "it.gif"), "must end in one of .png, .pdf, .svg"),
        (("shared", "nowhere", "--out", "it.gif"), "must end in one of .png, .pdf, .svg"),
        (("shared", "nowhere"), "no run folder or bundled model 'nowhere'"),
    ],
)
def test_mistakes_are_one_sentence(nelbo_cli, trained, tmp_path, line, named):
    places = {"RUN": trained, "DATA": trained.parent / "pictures"}
    shown = nelbo_cli("plot", *(places.get(part, part) for part in line))
    assert shown.code == 2
    assert shown.err.strip().startswith("error: ") and named in shown.err
    assert not list(tmp_path.iterdir())


def test_images_of_another_size_are_fitted(nelbo_cli, trained, tmp_path):
    np.save(tmp_path / "tall.npy", np.zeros((2, 9, 8, 3), dtype=np.uint8))
    shown = nelbo_cli("plot", "forward", trained, "--data", "tall.npy", "--num", 2)
    assert shown.code == 0 and "2 of 2 images resized to 8x8 (shorter side fitted, centre cut out)" in shown.err


def test_too_many_neighbours_are_refused_before_sampling(nelbo_cli, trained, monkeypatch):
    monkeypatch.setattr(nelbo.runs.DiffusionRun, "sample", lambda *_, **__: pytest.fail("it sampled first"))
    shown = nelbo_cli("plot", "neighbours", trained, "--neighbours", 24)
    assert shown.code == 2 and "--neighbours must be within 1..23, got 24" in shown.err


def test_too_many_steps_are_refused_for_points(nelbo_cli, points):
    shown = nelbo_cli("plot", "points", points("moons"), "--steps", 11)
    assert shown.code == 2 and "11" in shown.err
