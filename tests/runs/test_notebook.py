"""Runs, reports, recipes and data sets in a notebook: short text, HTML with pictures, and data frames."""

import base64
import io
import re
from dataclasses import replace

import pytest
import torch
from PIL import Image

import nelbo
from nelbo.evaluation import rate_distortion
from nelbo.randomness import SeedWarning
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import fit_to_data
from nelbo.recipes.presets import PRESETS
from nelbo.runs import DataOptions, DiffusionRun, RunConfig
from nelbo.runs.loading import run_of
from nelbo.studies import CellRecord, Table2, table2_cells
from nelbo.training import METRICS_FILE, MetricsLog
from tests.conftest import write_pictures

EMBEDDED = re.compile(r"src='data:image/png;base64,([A-Za-z0-9+/=]+)'")
LINES = [
    {"step": 50, "loss": 0.5, "loss_by_quarter": [0.1, None, 0.2, 0.3]},
    {"step": 100, "held_out_bits_per_dim": 3.5, "held_out_standard_error": 0.01},
    {"step": 150, "loss": 0.25},
]


def built(recipe, folder):
    data = DataOptions("<digits>", (1, 8, 8), 17, 1500, 297, class_names=tuple("0123456789"), class_counts=(150,) * 10)
    recipe = fit_to_data(recipe, data.shape, data.class_counts, data.levels)
    torch.manual_seed(0)
    return run_of(folder, RunConfig(recipe, data, "digits"), build_network(recipe))


@pytest.fixture(scope="module")
def run(tiny_recipe, tmp_path_factory):
    """A run of the digits that is not trained, with metrics and a picture in its folder."""
    folder = tmp_path_factory.mktemp("runs") / "run<b>"
    folder.mkdir()
    log = MetricsLog(folder / METRICS_FILE)
    for line in LINES:
        log.append(line)
    Image.new("L", (5, 4), 7).save(folder / "samples.png")
    return built(tiny_recipe.with_overrides({"schedule.num_steps": 6}), folder)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    """A small VAE that is not trained, with random weights: its first ones make all samples equal."""
    recipe = PRESETS["vae-digits"].with_overrides({"network.base": 4, "network.hidden": 8, "network.latent": 2})
    vae = built(recipe, tmp_path_factory.mktemp("vae"))
    for weight in vae.network.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return vae


@pytest.fixture(scope="module")
def digits():
    return nelbo.load_data("digits")


@pytest.fixture(scope="module")
def shown(run, vae, digits):
    """Everything that a notebook shows often."""
    images = digits.test.subset(torch.arange(6))
    whole = run.bound(images, steps_per_image=None)
    return {
        "run": run,
        "vae": vae,
        "config": run.config,
        "data": run.config.data,
        "recipe": run.recipe,
        "bound": run.bound(images, seed=3),
        "one image": run.bound(images.subset(torch.arange(1))),
        "likelihood": run.likelihood(images, tolerance=100.0),
        "forms": run.forms(images),
        "curve": rate_distortion(whole),
        "restoration": run.restore(images.images([0])[0], noise=2.0, steps=2, num=2),
        "elbo": vae.bound(images),
        "log likelihood": vae.log_likelihood(images, samples=10),
        "set": digits.train,
        "split": digits,
    }


def pictures_in(page):
    return [Image.open(io.BytesIO(base64.b64decode(found))) for found in EMBEDDED.findall(page)]


def test_texts_are_short_and_pages_need_no_network(shown):
    for name, thing in shown.items():
        text, page = repr(thing), thing._repr_html_()
        assert text.count("\n") <= 6 and len(text) < 700, name
        assert text.startswith(type(thing).__name__)
        rest = EMBEDDED.sub("", page)
        assert "//" not in rest and "<script" not in rest and "url(" not in rest, name
        assert all(picture.format == "PNG" for picture in pictures_in(page)), name


def test_other_records_show_themselves_in_a_line(run):
    reverse, step = run.reverse(), next(run.trajectory(1, steps=2))
    for thing in (run.model, reverse, run.sampler(), step, reverse.predict(step.x_t, torch.tensor([3]))):
        assert "\n" not in repr(thing) and len(repr(thing)) < 500


def test_a_run_says_what_it_is(run):
    assert repr(run).splitlines() == [
        f"DiffusionRun {run.folder}",
        "  images   1 x 8 x 8 (C x H x W), 17 levels, 10 classes",
        "  data     <digits>: 1,500 training images, 297 held out",
        "  model    log-linear schedule of 6 steps, noise prediction, simple loss, importance t",
        f"  network  {sum(w.numel() for w in run.network.parameters()):,} weights on cpu",
        "  state    150 steps of training; held-out bound 3.5000 +- 0.0100 bits/dim; not calibrated; no codec plan",
    ]
    page = run._repr_html_()
    assert "<digits>" not in page and "&lt;digits&gt;" in page and "run<b>" not in page
    (picture,) = pictures_in(page)
    assert picture.size == (5, 4)


def test_a_folder_without_metrics_is_shown(run, tmp_path):
    run = replace(run, folder=tmp_path)
    assert "no metrics in its folder" in repr(run) and run.metrics == [] and pictures_in(run._repr_html_()) == []


def test_numbers_of_reports(shown):
    report = shown["bound"]
    assert f"{report.total:.4f} +- {report.standard_error:.4f} bits/dim, 6 images" in repr(report)
    assert "seed 3" in repr(report) and len(pictures_in(report._repr_html_())) == 2
    assert "+-" not in repr(shown["one image"]).splitlines()[1]  # one image has no spread
    assert f"{shown['elbo'].total:.4f}" in repr(shown["elbo"])
    assert len(pictures_in(shown["restoration"]._repr_html_())) == 2 + 1 + 1
    assert len(pictures_in(shown["set"]._repr_html_())) == 12
    assert "1,500 images, 1 x 8 x 8 (C x H x W), 17 levels" in repr(shown["set"])


def test_levels_are_stretched_to_black_and_white(digits):
    some = digits.train.subset(torch.arange(1))
    (picture,) = pictures_in(some._repr_html_())
    top = int(some.images([0]).max())
    assert picture.getextrema() == (0, round(top * 255 / 16))


def test_tables(shown, run):
    pytest.importorskip("pandas")
    report = shown["bound"]
    scores = report.to_pandas()
    assert list(scores.columns) == ["image", "bits_per_dim"]
    assert scores["bits_per_dim"].mean() == pytest.approx(report.total)
    steps = report.to_pandas("steps")
    assert list(steps.columns) == ["t", "bits_per_dim", "standard_error", "log_snr", "draws", "rmse"]
    assert steps["t"].tolist() == [step.t for step in report.per_step]
    with pytest.raises(nelbo.NelboError, match=r"unknown table 'step'; did you mean 'steps'\?"):
        report.to_pandas("step")
    assert run.to_pandas()["step"].tolist() == [50, 100, 150]
    assert shown["elbo"].to_pandas().shape == shown["likelihood"].to_pandas().shape == (6, 2)
    assert shown["curve"].to_pandas()["t"].tolist() == list(range(6, 0, -1))
    assert shown["log likelihood"].to_pandas().shape == (2 * 6, 5)


@pytest.mark.parametrize("name", PRESETS)
def test_every_recipe_is_short(name):
    assert repr(PRESETS[name]).count("\n") == 3


class TestSeeds:
    """`seed=None` draws a fresh seed, which the record or the warning states."""

    def test_records_hold_the_seed(self, run, vae, digits):
        images = digits.test.subset(torch.arange(2))
        for call in (run.bound, run.forms, run.likelihood, vae.bound, vae.log_likelihood):
            how = {"samples": 10} if call == vae.log_likelihood else {}
            with pytest.warns(SeedWarning) as caught:
                report = call(images, seed=None, **how)
            assert f"seed={report.seed} repeats" in str(caught[0].message)
            assert call(images, **how).seed == 0
        with pytest.warns(SeedWarning):
            report = run.bound(images, seed=None)
        assert torch.equal(run.bound(images, seed=report.seed).scores, report.scores)

    def test_the_warning_repeats_what_has_no_record(self, run, vae, digits):
        images = digits.test.subset(torch.arange(2))
        draws = {
            "samples": lambda seed: run.sample(2, steps=2, seed=seed),
            "samples of a VAE": lambda seed: vae.sample(2, seed=seed),
            "scores": lambda seed: run.score(images, seed=seed),
            "scores of a VAE": lambda seed: vae.score(images, seed=seed),
            "chain": lambda seed: list(run.trajectory(1, steps=2, seed=seed))[-1].x_0,
        }
        for name, draw in draws.items():
            with pytest.warns(SeedWarning) as caught:
                drawn = draw(None)
            assert len(caught) == 1, name
            seed = int(re.search(r"seed=(\d+)", str(caught[0].message))[1])
            assert torch.equal(draw(seed), drawn), name
            assert not torch.equal(draw(seed + 1), drawn), name


def test_progress_of_every_call(run, vae, digits, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes standard error for a terminal
    images = digits.test.subset(torch.arange(2))
    calls = {
        "sampling": lambda progress: run.sample(1, steps=2, progress=progress),
        "scoring": lambda progress: run.score(images, progress=progress),
        "comparing forms": lambda progress: run.forms(images, progress=progress),
        "solving the ODE": lambda progress: run.likelihood(images, tolerance=100.0, progress=progress),
        "calibrating": lambda progress: run.calibrate(images, draws=8, progress=progress),
        "restoring": lambda progress: run.restore(images[0], noise=2.0, steps=2, num=1, progress=progress),
        "drawing": lambda progress: vae.log_likelihood(images, samples=10, progress=progress),
    }
    for name, call in calls.items():
        call(True)
        assert name in capsys.readouterr().err
        call(False)
        assert capsys.readouterr().err == ""
        heard: list[tuple[int, int]] = []
        call(lambda *numbers, into=heard: into.append(numbers))
        assert heard and heard[-1][0] <= heard[-1][1], name  # the ODE may need fewer steps than there are


def test_a_subclass_keeps_the_summary(run):
    class Mine(DiffusionRun):
        pass

    assert repr(Mine(**vars(run))).startswith("Mine ")


def test_a_grid_is_shown_by_its_best_cell():
    cells = table2_cells()[:3]
    bounds = (4.0, 3.5, None)
    records = [
        CellRecord(cell, None if b else "not finite", 10, 1.0, b, None) for cell, b in zip(cells, bounds, strict=True)
    ]
    grid = Table2(None, records, None, 256, 90, 10, "no classifier")
    assert repr(grid).splitlines() == [
        "Table2",
        "  cells             3, 1 unstable",
        f"  lowest bound      3.5000 bits/dim, {cells[1].name}",
        "  images            90 for training, 10 held out, 256 levels",
        "  Frechet distance  no classifier",
    ]
    assert "lowest" not in repr(replace(grid, records=[]))


def test_files_are_read_with_a_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes standard error for a terminal
    folder = write_pictures(tmp_path / "pictures", 3)
    nelbo.load_data(folder, progress=True)
    assert "reading images" in capsys.readouterr().err
    with pytest.raises(nelbo.NelboError, match="progress is 'bar'"):
        nelbo.load_data(folder, progress="bar")
