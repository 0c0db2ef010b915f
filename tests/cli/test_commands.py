"""Every command in its ordinary use."""

import csv
import json
import math
import shutil

import numpy as np
import pytest
import typer
from PIL import Image

import nelbo
import nelbo.cli.app
from nelbo import plots
from nelbo.cli.app import app
from nelbo.cli.display import TrainingDisplay
from nelbo.cli.options import parse_setting
from nelbo.errors import ConfigurationError, RunError
from nelbo.progress import duration
from nelbo.studies.training import with_one_budget
from tests.cli.conftest import TINY

COMMANDS = typer.main.get_command(app).commands


def strict(text):
    """Parse JSON strictly: without NaN and Infinity."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_version_is_printed(nelbo_cli):
    asked = nelbo_cli("--version")
    assert (asked.code, asked.out) == (0, f"{nelbo.__version__}\n")


def test_typer_finds_the_program():
    """`typer nelbo.cli.app utils docs` prints the reference page, and searches the names of the module."""
    assert "app" in dir(nelbo.cli.app)


def test_no_arguments_show_the_help(nelbo_cli):
    asked = nelbo_cli()
    for name in COMMANDS:
        assert name in asked.out + asked.err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_option(nelbo_cli, name):
    shown = nelbo_cli(name, "--help")
    assert shown.code == 0
    for parameter in COMMANDS[name].params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert option in shown.out
        if parameter.name != "help":
            assert parameter.help
            assert parameter.help.split()[0] in shown.out
    assert COMMANDS[name].help.split(".")[0][:40] in shown.out


def test_training_writes_a_complete_folder(trained):
    assert {"config.json", "model.safetensors", "metrics.jsonl", "samples.png", "loss.png"} <= {
        path.name for path in trained.iterdir()
    }
    config = json.loads((trained / "config.json").read_text())
    assert config["data"]["class_names"] == ["class-0", "class-1"]
    assert config["data"]["shape"] == [3, 8, 8]
    assert config["preset"] == "images"
    assert config["training"]["minutes"] is None


def test_training_prints_its_settings_and_next_commands(nelbo_cli, trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    resumed = nelbo_cli("train", "--out", run, "--steps", 5)
    assert resumed.code == 0
    assert "23 training images, 1 held out, 3 x 8 x 8 (C x H x W), 256 levels" in resumed.err
    assert "resuming from step 4" in resumed.err
    assert f"nelbo sample {run}" in resumed.err


def test_training_says_what_becomes_of_classes(nelbo_cli, pictures):
    two, many = pictures("two", 24, classes=2), pictures("many", 24, classes=8)
    learned, ignored = "the model learns the 2 classes of the images", "the model ignores the 8 classes of the images"
    for data, flags, said in (
        (two, (), f"{learned}; --unconditional ignores them\n"),
        (two, ("--unconditional",), ""),
        (many, (), f"{ignored}, which have fewer than 10 training images each on average; --conditional learns them\n"),
        (many, ("--conditional",), "the model learns the 8 classes of the images; --unconditional ignores them\n"),
    ):
        out = f"run-{data.name}{''.join(flags)}"
        done = nelbo_cli("train", "--data", data, "--out", out, *TINY, *flags, "--steps", 1)
        assert done.code == 0, done.err
        assert said in done.err and ("classes of the images" in done.err) is bool(said)
    resumed = nelbo_cli("train", "--data", two, "--out", "run-two", *TINY, "--steps", 2)
    assert "class-conditional (2 classes)" in resumed.err and "--unconditional" not in resumed.err


def test_samples_without_a_label_share_their_class_with_the_figures(nelbo_cli, trained, monkeypatch):
    """`plot shared` draws the class of image 0, as `sample` does."""
    given = []
    monkeypatch.setattr(nelbo.samplers, "shared_latents", lambda *arguments: given.append(arguments[-1]) or [])
    for seed in range(4):
        nelbo_cli("plot", "shared", trained, "--seed", seed)
    model = nelbo.load(trained, device="cpu").model
    assert [label.tolist() for label in given] == [model.classes(None, 1, seed=seed).tolist() for seed in range(4)]
    assert len({label.item() for label in given}) == 2


def test_samples_become_a_picture_or_an_array(nelbo_cli, trained, tmp_path):
    assert nelbo_cli("sample", trained, "--num", 3, "--out", "three.npy").code == 0
    array = np.load(tmp_path / "three.npy")
    assert (array.shape, array.dtype) == ((3, 3, 8, 8), np.uint8)
    default = ("--sampler", "dpm-solver++sde", "--spacing", "karras")
    drawn = nelbo_cli("sample", trained, "--num", 4, "--steps", 5, *default, "--seed", 3)
    assert drawn.code == 0
    assert "4 images in samples.png" in drawn.err
    first = Image.open(tmp_path / "samples.png").tobytes()
    nelbo_cli("sample", trained, "--num", 4, "--steps", 5, "--seed", 3, "--out", "again.png")
    assert Image.open(tmp_path / "again.png").tobytes() == first
    for other in (("--seed", 4), ("--seed", 3, "--sampler", "ancestral")):
        nelbo_cli("sample", trained, "--num", 4, "--steps", 5, *other, "--out", "other.png")
        assert Image.open(tmp_path / "other.png").tobytes() != first


def test_samples_become_separate_files(nelbo_cli, trained, tmp_path):
    """A folder holds each image in its own size, and so does the picture of a single image."""
    options = ("--steps", 2, "--seed", 3, "--precision", "fp32")
    assert nelbo_cli("sample", trained, "--num", 11, *options, "--out", "eleven.npy").code == 0
    drawn = nelbo_cli("sample", trained, "--num", 11, *options, "--out", "eleven")
    assert drawn.code == 0 and "11 images in eleven" in drawn.err
    files = sorted((tmp_path / "eleven").iterdir())
    assert [file.name for file in files] == [f"{i:02}.png" for i in range(11)]
    images = np.load(tmp_path / "eleven.npy").transpose(0, 2, 3, 1)
    assert np.array_equal(np.stack([np.asarray(Image.open(file)) for file in files]), images)
    again = nelbo_cli("sample", trained, "--num", 11, *options, "--out", "eleven")
    assert again.code == 2 and "--out eleven is a folder that is not empty" in again.err
    assert nelbo_cli("sample", trained, "--num", 1, *options, "--out", "one.png").code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "one.png")), images[0])


def test_evaluate_json_has_the_documented_keys(nelbo_cli, trained, tmp_path):
    asked = nelbo_cli("evaluate", trained, "--json", "-", "--steps-per-image", 0)
    assert asked.code == 0
    found = strict(asked.out)
    assert {
        "bits_per_dim",
        "per_step",
        "num_images",
        "num_dims",
        "levels",
        "num_steps",
        "clip",
        "version",
    } <= found.keys()
    bits = found["bits_per_dim"]
    assert bits.keys() == {"total", "prior", "denoising", "decoder", "standard_error"}
    assert bits["total"] == pytest.approx(bits["prior"] + bits["denoising"] + bits["decoder"])
    assert bits["standard_error"] is None  # there is one held-out image
    assert [step["t"] for step in found["per_step"]] == list(range(1, 11))
    assert (found["num_images"], found["num_dims"], found["levels"], found["num_steps"]) == (1, 192, 256, 10)
    assert (found["clip"], found["version"], found["fraction_of_images"]) == (False, nelbo.__version__, 1.0)

    assert nelbo_cli("evaluate", trained, "--json", "bound.json", "--clip", "--steps", 5, "--num", 1).code == 0
    found = strict((tmp_path / "bound.json").read_text())
    assert (found["clip"], found["num_steps"]) == (True, 5)


def test_evaluate_data_uses_all_its_images(nelbo_cli, trained):
    asked = nelbo_cli("evaluate", trained, "--data", trained.parent / "pictures", "--json", "-")
    assert strict(asked.out)["num_images"] == 24
    some = strict(nelbo_cli("evaluate", trained, "--data", trained.parent / "pictures", "--num", 6, "--json", "-").out)
    assert (some["num_images"], some["fraction_of_images"]) == (6, 0.25)
    assert some["bits_per_dim"]["standard_error"] > 0


def test_run_finds_its_data_from_another_folder(nelbo_cli, pictures, tmp_path, monkeypatch):
    pictures("pics", num=6)
    assert nelbo_cli("train", "--data", "pics", "--out", "run", *TINY).code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["spec"] == str(tmp_path / "pics")
    assert nelbo_cli("train", "--data", "./pics", "--out", "run", *TINY).code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert nelbo_cli("evaluate", tmp_path / "run").code == 0


def test_old_run_with_a_relative_path_resumes(nelbo_cli, pictures, tmp_path):
    pictures("pics", num=6)
    assert nelbo_cli("train", "--data", "pics", "--out", "run", *TINY).code == 0
    path = tmp_path / "run" / "config.json"
    config = json.loads(path.read_text())
    config["data"]["spec"] = "pics"
    path.write_text(json.dumps(config))
    assert nelbo_cli("evaluate", "run").code == 0
    assert "resuming from step 4" in nelbo_cli("train", "--data", "./pics", "--out", "run", *TINY).err
    assert json.loads(path.read_text())["data"]["spec"] == str(tmp_path / "pics")


def test_data_set_names_stay_names(nelbo_cli, tmp_path):
    (tmp_path / "digits").mkdir()
    assert nelbo_cli("train", "--data", "digits", "--out", "run", *TINY).code == 0
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["spec"] == "digits"


def test_evaluate_lists_and_counts_skipped_images(nelbo_cli, trained, pictures):
    place = pictures("mine", num=6)
    (place / "letter.png").write_text("dear")
    pictures("mine/large", num=2, size=(20, 12))
    strictly = ("evaluate", trained, "--data", place, "--no-resize")
    shown = nelbo_cli(*strictly)
    assert shown.code == 0
    assert "on 6 of 6 images of mine (3 files skipped)" in " ".join(shown.out.split())
    assert "letter.png: it is not a PNG" in shown.err
    assert "20x12, but the model takes 8x8 and images are not resized" in shown.err
    found = strict(nelbo_cli(*strictly, "--json", "-").out)
    assert (found["num_images"], found["fraction_of_images"], len(found["rejects"])) == (6, pytest.approx(6 / 9), 3)
    some = strict(nelbo_cli(*strictly, "--num", 3, "--json", "-").out)
    assert (some["num_images"], some["fraction_of_images"]) == (3, pytest.approx(3 / 9))
    resized = nelbo_cli("evaluate", trained, "--data", place, "--json", "-")
    assert "2 of 8 images resized to 8x8 (shorter side fitted, centre cut out), as in training" in resized.err
    found = strict(resized.out)
    assert (found["num_images"], found["fraction_of_images"]) == (8, pytest.approx(8 / 9))
    assert [reject["reason"] for reject in found["rejects"]] == ["it is not a PNG, JPEG, WebP, BMP or TIFF image"]


def test_unreadable_files_are_not_missing_held_out_images(nelbo_cli, pictures):
    place = pictures(num=6)
    (place / "letter.png").write_text("dear")
    assert nelbo_cli("train", "--data", place, "--out", "run", *TINY).code == 0
    assert "letter.png: it is not a PNG" in nelbo_cli("evaluate", "run").err
    found = strict(nelbo_cli("evaluate", "run", "--json", "-").out)
    assert (found["fraction_of_images"], len(found["rejects"])) == (1.0, 1)


def test_many_skipped_files_are_counted(nelbo_cli, trained, pictures):
    place = pictures("mine", num=2)
    for i in range(12):
        (place / f"letter-{i}.png").write_text("dear")
    shown = nelbo_cli("score", place, "-m", trained)
    assert shown.err.count("it is not a PNG") == 10
    assert "skipped 2 more (--json lists them)" in shown.err


@pytest.mark.parametrize("name", ["data", "train"])
def test_help_states_how_images_are_read(nelbo_cli, name):
    shown = " ".join(nelbo_cli(name, "--help").out.split())
    for part in (
        "each page of a TIFF file is an image",
        "Pixels of more than 8 bits are mapped to 8 bits",
        "Transparent images are composited on white",
        "at most 256 pixels per side",
        "--size N",
    ):
        assert part in shown


def test_evaluate_prints_the_terms(nelbo_cli, trained):
    shown = nelbo_cli("evaluate", trained)
    for part in ("L_T (prior)", "L_0 (decoder)", "L (total)", "bits/dim", "variance calibrated", "clip off"):
        assert part in shown.out
    assert (trained / "bound-per-step.png").exists()


def test_evaluate_draws_only_the_whole_chain_on_all_held_out_images(nelbo_cli, trained):
    picture = trained / "bound-per-step.png"
    before = picture.stat().st_mtime_ns
    for options in (
        ("--steps", 5),
        ("--num", 1),
        ("--variance", "fixed-large"),
        ("--data", trained.parent / "pictures"),
    ):
        shown = nelbo_cli("evaluate", trained, *options)
        assert (shown.code, "the bound by t" in shown.err) == (0, False)
    assert picture.stat().st_mtime_ns == before


def test_evaluate_of_a_read_only_run_prints_its_bound(nelbo_cli, trained, monkeypatch):
    def refused(picture, path):
        raise RunError(f"{path} could not be written: [Errno 13] Permission denied.")

    monkeypatch.setattr(plots, "save", refused)
    shown = nelbo_cli("evaluate", trained)
    assert shown.code == 0 and "L (total)" in shown.out
    assert "warning: " in shown.err and "bound-per-step.png could not be written" in shown.err


def test_scores_rank_the_images(nelbo_cli, trained, tmp_path):
    pictures = trained.parent / "pictures"
    shown = nelbo_cli("score", pictures, "-m", trained, "--csv", "bits.csv", "--json", "bits.json", "--seed", 1)
    assert shown.code == 0
    assert "24 images, mean" in shown.out
    with (tmp_path / "bits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    values = [float(row["bits_per_dim"]) for row in rows]
    assert values == sorted(values, reverse=True)
    assert {row["image"] for row in rows} == {str(path) for path in pictures.rglob("*.png")}
    found = strict((tmp_path / "bits.json").read_text())
    assert [row["bits_per_dim"] for row in found["scores"]] == pytest.approx(values, abs=1e-5)
    assert found["rejects"] == []


def test_score_of_one_image_and_of_another_size(nelbo_cli, trained, pictures):
    one = next((trained.parent / "pictures").rglob("*.png"))
    assert "1 image," in nelbo_cli("score", one, "-m", trained).out
    large = pictures("large", num=2, size=(20, 12))
    refused = nelbo_cli("score", large, "-m", trained, "--no-resize")
    assert refused.code == 2
    assert "20x12, but the model takes 8x8 and images are not resized" in refused.err
    resized = nelbo_cli("score", large, "-m", trained)
    assert resized.code == 0 and "2 of 2 images resized to 8x8" in resized.err


def test_data_of_several_sizes_has_no_empty_rows(nelbo_cli, pictures):
    pictures("mixed", 2, (8, 8), 1), pictures("mixed", 2, (12, 8), 2)
    done = nelbo_cli("data", "mixed")
    assert done.code == 0 and "None" not in done.out and "several sizes; training needs --size" in done.out


def test_data_in_words_and_in_json(nelbo_cli, pictures):
    place = pictures("mine", num=6, classes=3)
    (place / "notes.txt").write_text("none")
    words = nelbo_cli("data", place)
    assert words.code == 0
    assert "class-0: 2, class-1: 2, class-2: 2" in words.out
    found = strict(nelbo_cli("data", place, "--json", "-").out)
    assert (found["count"], found["shape"], found["sizes"]) == (6, [3, 8, 8], {"8x8": 6})
    assert (found["modes"], found["ignored"], found["rejects"]) == ({"RGB": 6}, {".txt": 1}, [])


def test_info_describes_this_machine(nelbo_cli):
    found = strict(nelbo_cli("info", "--json", "-").out)
    assert {"nelbo", "torch", "python", "devices", "threads", "bundled models"} <= found.keys()
    assert found["devices"][0] == "cpu"
    assert "torch" in nelbo_cli("info").out


def test_presets_are_listed_and_shown(nelbo_cli):
    listed = nelbo_cli("presets").out
    for name in ("digits", "dit-digits", "fashion-mnist", "images", "dit", "points", "cifar10", "lsun256"):
        assert name in listed
    shown = strict(nelbo_cli("presets", "cifar10").out)
    assert shown["network"]["base"] == 128


def test_settings_are_json_or_strings():
    assert parse_setting("network.multipliers=[1,2]") == ("network.multipliers", [1, 2])
    assert parse_setting("loss=simple") == ("loss", "simple")
    assert parse_setting("training.minutes=null") == ("training.minutes", None)
    assert math.isnan(parse_setting("training.ema=NaN")[1])
    for text in ("loss", "=simple"):
        with pytest.raises(ConfigurationError, match="is not of the form NAME=VALUE"):
            parse_setting(text)


def test_a_budget_replaces_the_other_one():
    assert with_one_budget({"training.steps": 5}) == {"training.steps": 5, "training.minutes": None}
    both = {"training.steps": 5, "training.minutes": 1.0}
    assert with_one_budget(both) == both
    assert with_one_budget({"loss": "simple"}) == {"loss": "simple"}


def test_durations():
    assert [duration(seconds) for seconds in (5, 65, 3725)] == ["0:05", "1:05", "1:02:05"]


def test_ctrl_c_prints_no_traceback(nelbo_cli, trained, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(nelbo, "load", interrupted)
    assert nelbo_cli("sample", trained).code == 130


def test_ctrl_c_in_training_saves_the_state(nelbo_cli, trained, tmp_path, monkeypatch):
    import os
    import signal

    run = shutil.copytree(trained, tmp_path / "run")
    stepped = TrainingDisplay.stepped

    def press(display, progress):
        stepped(display, progress)
        if progress.step == 6:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingDisplay, "stepped", press)
    left = nelbo_cli("train", "--out", run, "--steps", 400)
    assert left.code == 0
    assert "stopped by SIGINT at step 6; the state is saved, and the same command resumes" in left.err
    assert "is trained" not in left.err


def test_rate_distortion_curve_sums_to_the_bound(nelbo_cli, trained, tmp_path):
    line = ("plot", "rate-distortion", trained, "--num", 2, "--csv", "curve.csv", "--json", "curve.json")
    shown = nelbo_cli(*line)
    assert shown.code == 0
    curve = strict((tmp_path / "curve.json").read_text())
    bound = strict(nelbo_cli("evaluate", trained, "--num", 2, "--steps-per-image", 0, "--json", "-").out)
    assert curve["bits_per_dim"]["total"] == pytest.approx(bound["bits_per_dim"]["total"], abs=1e-6)
    last = curve["points"][-1]
    assert last["rate"] + curve["bits_per_dim"]["distortion"] == pytest.approx(curve["bits_per_dim"]["total"])
    assert last["t"] == 1 and last["rate_share"] == 1
    assert set(curve["codecs"]) >= {"JPEG", "WEBP"}
    rows = (tmp_path / "curve.csv").read_text().splitlines()
    assert rows[0] == "t,reverse_steps,rate,rmse,rate_share" and len(rows) == 1 + len(curve["points"])
    assert (tmp_path / "rate-distortion.png").stat().st_size > 10_000
    assert "= rate" in shown.out and "JPEG:" in shown.out


@pytest.mark.parametrize(
    ("figure", "options"),
    [
        ("schedules", []),
        ("forward", ["--num", 2, "--data", "pictures"]),
        ("progressive", ["--num", 2, "--steps", 5, "--columns", 4]),
    ],
)
def test_figures_of_the_paper_are_drawn(nelbo_cli, trained, tmp_path, figure, options):
    options = [trained.parent / "pictures" if option == "pictures" else option for option in options]
    assert nelbo_cli("plot", figure, trained, *options, "--out", "it.png").code == 0
    with Image.open(tmp_path / "it.png") as picture:
        assert picture.width > 300 and len(picture.convert("RGB").getcolors(10**7)) > 50


def test_schedules_need_no_run(nelbo_cli, tmp_path):
    assert nelbo_cli("plot", "schedules").code == 0
    assert (tmp_path / "schedules.png").exists()


def test_run_named_like_a_schedule_is_drawn(nelbo_cli, trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "linear")
    drawn = {}
    monkeypatch.setattr("nelbo.plots.schedule_curves", drawn.update)
    monkeypatch.setattr("nelbo.cli.plot.schedules.keep", lambda figure, path: None)
    assert nelbo_cli("plot", "schedules", "linear").code == 0
    assert drawn["linear"].num_steps == 10


def test_scores_as_csv_on_standard_output(nelbo_cli, trained):
    rows = nelbo_cli("score", trained.parent / "pictures", "-m", trained, "--csv", "-").out.splitlines()
    assert rows[0] == "image,bits_per_dim" and len(rows) == 25


def test_csv_on_standard_output_and_json_in_a_file(nelbo_cli, trained, tmp_path):
    pictures, both = trained.parent / "pictures", ("--csv", "-", "--json", "it.json")
    rows = nelbo_cli("score", pictures, "-m", trained, *both).out.splitlines()
    assert len(rows) == 1 + len(strict((tmp_path / "it.json").read_text())["scores"])
    curve = nelbo_cli("plot", "rate-distortion", trained, "--num", 1, *both).out.splitlines()
    assert curve[0] == "t,reverse_steps,rate,rmse,rate_share"
    assert len(curve) == 1 + len(strict((tmp_path / "it.json").read_text())["points"])
    assert not (tmp_path / "-").exists()


def test_one_image_has_no_standard_error(nelbo_cli, trained):
    shown = nelbo_cli("evaluate", trained, "--num", 1).out
    assert "nan" not in shown and "one image cannot show" in shown


def test_evaluate_compares_two_forms_of_the_bound(nelbo_cli, trained):
    shown = nelbo_cli("evaluate", trained, "--num", 2, "--forms")
    assert shown.code == 0
    assert "eq. 3: ratios along a path" in shown.out and "standard errors" in shown.out
    found = strict(nelbo_cli("evaluate", trained, "--num", 2, "--forms", "--json", "-").out)
    assert {"z", "variance_ratio", "ratio", "divergence"} <= set(found) and found["num_images"] == 1
    assert "remove one of them" in nelbo_cli("evaluate", trained, "--forms", "--clip").err
    assert "it has no --steps-per-image" in nelbo_cli("evaluate", trained, "--forms", "--steps-per-image", 3).err


def test_evaluate_forms_lists_skipped_files(nelbo_cli, trained, pictures):
    place = pictures("mine", num=3)
    (place / "letter.png").write_text("dear")
    asked = ("evaluate", trained, "--data", place, "--num", 2, "--forms")
    assert "letter.png: " in nelbo_cli(*asked).err
    found = strict(nelbo_cli(*asked, "--json", "-").out)
    assert (found["fraction_of_images"], len(found["rejects"])) == (pytest.approx(2 / 4), 1)


def test_evaluate_adds_eq_16_to_the_forms(nelbo_cli, trained):
    asked = ("evaluate", trained, "--data", trained.parent / "pictures", "--num", 3, "--forms", "--known")
    shown = nelbo_cli(*asked)
    assert shown.code == 0 and "eq. 16: a KL at each t, and H(x_0)" in shown.out
    found = strict(nelbo_cli(*asked, "--json", "-").out)
    assert abs(found["known_z"]) < 4 and found["known"]["bits_per_dim"] > found["entropy"] > 0
    assert "comparison of --forms; give --forms too" in nelbo_cli("evaluate", trained, "--known").err


def test_evaluate_adds_the_likelihood(nelbo_cli, trained):
    asked = ("evaluate", trained, "--data", trained.parent / "pictures", "--num", 3, "--ode")
    shown = nelbo_cli(*asked, "--tolerance", 1e9)
    assert shown.code == 0, shown.err
    assert "variational, by the chain" in shown.out and "by the probability-flow ODE" in shown.out
    assert (
        "8 steps of Heun's method" in shown.out
        and "(tolerance 1e+09); 1 probe per image; 28 network calls per image" in shown.out
    )
    assert "not reached" not in shown.err
    found = strict(nelbo_cli(*asked, "--tolerance", 1e9, "--probes", 2, "--json", "-").out)
    ode = found["ode"]
    assert (ode["steps"], ode["calls"], ode["probes"], ode["reached"], ode["tolerance"]) == (8, 28, 2, True, 1e9)
    assert ode["probe_error"] > 0 and ode["standard_error"] > 0 and math.isfinite(ode["total"])
    assert found["bits_per_dim"]["total"] > 0 and "ode" not in strict(nelbo_cli(*asked[:-1], "--json", "-").out)


def test_unreached_tolerance_is_reported(nelbo_cli, trained):
    asked = ("evaluate", trained, "--num", 1, "--ode", "--tolerance", 1e-9)
    shown = nelbo_cli(*asked, "--json", "-")
    assert shown.code == 0 and strict(shown.out)["ode"]["reached"] is False
    assert (
        "tolerance of 1e-09 bits/dim was not reached: the likelihood used all 9 steps of the schedule, whose last"
        in shown.err
    )
    assert "nan" not in nelbo_cli(*asked).out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--ode", "--clip"), "--ode chooses its own steps and has no --clip, --forms or --steps"),
        (("--ode", "--forms"), "--ode chooses its own steps"),
        (("--ode", "--steps", 4), "--steps; remove them"),
        (("--tolerance", 0.1), "--tolerance and --probes belong to --ode; give --ode too"),
        (("--probes", 2), "belong to --ode; give --ode too"),
        (("--ode", "--tolerance", 0), "--tolerance must be above 0 bits/dim, got 0.0"),
    ],
)
def test_options_that_ode_excludes_are_refused(nelbo_cli, trained, options, named):
    refused = nelbo_cli("evaluate", trained, *options)
    assert refused.code == 2 and named in refused.err


def test_control_characters_of_file_names_do_not_reach_the_terminal(nelbo_cli, trained, tmp_path):
    """They could clear the screen or reverse a line."""
    place = tmp_path / "odd"
    place.mkdir()
    for i, name in enumerate(("a\x1b[2Jb.png", "c\u202egnp.png", "ä\t😀.png")):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(place / name)
    (place / "d\x07.jpg").write_text("no picture")
    shown = nelbo_cli("score", place, "-m", trained)
    assert shown.code == 0
    for raw in "\x1b\x07\u202e":
        assert raw not in shown.out + shown.err
    assert "a\\x1b[2Jb.png" in shown.out and "c\\u202egnp.png" in shown.out and "😀.png" in shown.out
    assert "skipped" in shown.err and "d\\x07.jpg: it is not a PNG" in shown.err
    refused = nelbo_cli("score", "no\x1bwhere", "-m", trained)
    assert refused.code == 2 and "\x1b" not in refused.err
