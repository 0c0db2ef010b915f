"""A run on images with missing pixels, numbers and second images: trained, measured, sampled and restored."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo
from nelbo.condition import Condition
from nelbo.data import Takes
from nelbo.errors import ConfigurationError, DataError, NelboError, RunError
from nelbo.evaluation import baselines_of
from nelbo.recipes import preset
from nelbo.recipes.assembly import build_diffusion_objective
from nelbo.recipes.families import fit_to_data
from nelbo.runs import DiffusionRun
from nelbo.studies import data_of
from nelbo.studies.pictures import show_run
from tests.studies.test_given import TINY

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (24, 12, 12), dtype=np.uint8)
HALF = GREY[:, ::2, ::2].copy()
MISSING = RNG.random(GREY.shape) < 0.3
NUMBERS = np.stack([np.arange(24.0), 100 - np.arange(24.0) ** 2], 1)
BESIDE = {"mask": MISSING, "table": NUMBERS, "condition_images": HALF}


def train(images, out, **how):
    with warnings.catch_warnings(action="ignore"):
        return nelbo.train(images, out, **{"steps": 2, "pictures": False, "overrides": TINY, **how})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on arrays with everything beside them, and a decoder of pixels."""
    torch.set_num_threads(1)
    overrides = {**TINY, "decoder.kind": "pixels", "decoder.hidden": 8, "decoder.blocks": 1, "training.flip": True}
    folder = tmp_path_factory.mktemp("conditions") / "run"
    return train(GREY, folder, overrides=overrides, **BESIDE)


def test_the_folder_describes_what_lies_beside_the_images(run):
    stored = json.loads((run.folder / "config.json").read_text())
    network, data = stored["network"], stored["data"]
    assert (network["condition_size"], network["condition_channels"], network["masked"]) == (2, 1, True)
    assert data["condition_shape"] == [1, 6, 6] and data["columns"] == ["0", "1"] and data["masked"]
    assert all(data[name].startswith("memory:") for name in BESIDE)
    assert "conditioned on 2 numbers" in repr(run) and "missing pixels" in repr(run)


def test_the_bound_counts_observed_pixels_only(run):
    told = run.beside(GREY, **BESIDE)
    report = run.bound(told, seed=3)
    other = np.where(MISSING, 255 - GREY, GREY)
    assert torch.equal(report.scores, run.bound(run.beside(other, **BESIDE), seed=3).scores)
    assert report.observed == pytest.approx(1 - MISSING.mean())
    assert "observed" in repr(report) and report.to_json()["observed"] == report.observed
    assert torch.equal(run.score(told, seed=3, steps_per_image=8), report.scores)
    whole = run.beside(GREY, table=NUMBERS, condition_images=HALF)
    assert run.bound(whole).observed == 1


def test_the_heat_map_has_the_mean_of_the_score(run):
    one = run.beside(GREY[:1], mask=MISSING[:1], table=NUMBERS[:1], condition_images=HALF[:1])
    heat = run.heat_map(one, seed=3)
    assert heat.total == pytest.approx(float(run.score(one, seed=3)[0]), rel=1e-6)
    assert bool((heat.bits[0][torch.from_numpy(MISSING[0])] == 0).all())


def test_pictures_and_previews_follow_the_conditions_of_held_out_images(run, monkeypatch):
    seen, sample = [], DiffusionRun.sample
    monkeypatch.setattr(DiffusionRun, "sample", lambda self, num, **how: seen.append(how) or sample(self, num, **how))
    told = run.beside(GREY[:3], mask=MISSING[:3], table=NUMBERS[:3], condition_images=HALF[:3])
    with warnings.catch_warnings(action="ignore"):
        show_run(run, told)
        run.draft(2, 0, told)
    assert [len(how["vector"]) for how in seen] == [64, 2] == [len(how["condition_image"]) for how in seen]
    assert seen[1]["vector"].tolist() == NUMBERS[:2].tolist()


def test_baselines_count_observed_pixels_only(run):
    told = run.beside(GREY, mask=MISSING)
    other = run.beside(np.where(MISSING, 7, GREY).astype(np.uint8), mask=MISSING)
    assert baselines_of(told, told) == baselines_of(other, other)
    assert baselines_of(told, told).png is None and baselines_of(told, told) != baselines_of(run.beside(GREY), told)


def test_every_number_of_a_run_takes_the_condition(run):
    told = run.beside(GREY[:4], mask=MISSING[:4], table=NUMBERS[:4], condition_images=HALF[:4])
    forms = run.forms(told)
    assert forms.ratio.bits_per_dim > 0 and forms.divergence.bits_per_dim > 0
    assert run.likelihood(told, tolerance=10).scores.isfinite().all()
    with pytest.raises(ConfigurationError, match="other conditions and missing pixels"):
        run.forms(told, known=True)


def test_nan_is_a_missing_pixel_also_in_the_bound(run):
    with_nan = np.where(MISSING, np.nan, GREY / 255.0)
    with warnings.catch_warnings(action="ignore"):
        report = run.bound(with_nan, seed=1)
    assert torch.equal(report.scores, run.bound(run.beside(GREY, mask=MISSING), seed=1).scores)


def test_samples_follow_their_condition(run):
    plain = run.sample(2, steps=4)
    assert plain.shape == (2, 1, 12, 12)
    told = run.sample(2, steps=4, vector=[3.0, 91.0], condition_image=HALF[0])
    by_name = run.sample(2, steps=4, vector={"0": 3.0, "1": 91.0}, condition_image=[HALF[0], HALF[0]])
    assert torch.equal(told, by_name)
    guided = run.sample(2, steps=4, vector=[3.0, 91.0], condition_image=HALF[0], guidance=3.0)
    assert guided.shape == (2, 1, 12, 12)
    holes = run.sample(2, steps=4, mask=MISSING[0])
    assert bool((holes[:, 0][:, torch.from_numpy(MISSING[0])] == 0).all())
    one_by_one = run.sample(2, steps=4, vector=NUMBERS[:2], condition_image=[HALF[0], HALF[1]], batch_size=1)
    both = run.sample(2, steps=4, vector=NUMBERS[:2], condition_image=[HALF[0], HALF[1]])
    assert int((one_by_one.int() - both.int()).abs().max()) <= 1


def test_restoring_takes_the_condition(run):
    restored = run.restore(GREY[0], strength=0.5, steps=3, num=2, vector=NUMBERS[0], condition_image=HALF[0])
    assert restored.draws.shape == (2, 1, 12, 12)
    guided = run.restore(HALF[0], upscale=2, steps=3, num=2, condition_image=HALF[0], guidance=2.0)
    assert guided.draws.shape == (2, 1, 12, 12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector": [1.0]}, r"expected 2 numbers \(0, 1\)"),
        ({"vector": {"age": 1.0}}, r"column 'age'; expected 0, 1"),
        ({"condition_image": [HALF[0]] * 3}, "holds 3 images; expected one, or 2"),
        ({"mask": MISSING[0, :4]}, "expected 12x12"),
        ({"guidance": 2.0}, "follows a condition"),
    ],
)
def test_wrong_conditions_of_samples_are_reported(run, options, message):
    with pytest.raises(NelboError, match=message):
        run.sample(2, steps=2, **options)


def test_a_model_without_conditions_refuses_them(tmp_path):
    plain = train(GREY, tmp_path / "run")
    for options in ({"vector": [1.0]}, {"condition_image": HALF[0]}, {"mask": MISSING[0]}):
        with pytest.raises(ConfigurationError, match="not trained with such a condition"):
            plain.sample(1, steps=2, **options)
    with pytest.raises(ConfigurationError, match="masked"):
        plain.bound(plain.beside(GREY, mask=MISSING))
    with pytest.raises(ConfigurationError, match="VAE takes whole images alone"):
        train(GREY, tmp_path / "vae", preset="vae-fashion-mnist", overrides={}, mask=MISSING)
    vae = train(GREY, tmp_path / "vae", preset="vae-fashion-mnist", overrides={}, steps=1)
    with warnings.catch_warnings(action="ignore"), pytest.raises(ConfigurationError, match="whole images alone"):
        vae.bound(np.where(MISSING, np.nan, GREY / 255.0))


def test_resume_is_bitwise_and_other_pairs_are_refused(tmp_path):
    constant = {**TINY, "training.decay": "constant", "training.flip": True}  # a decay follows the budget
    whole = train(GREY, tmp_path / "whole", steps=4, overrides=constant, **BESIDE)
    train(GREY, tmp_path / "parts", steps=2, overrides=constant, **BESIDE)
    parts = train(GREY, tmp_path / "parts", steps=4, overrides=constant, **BESIDE)
    stored = parts.network.state_dict()
    assert all(torch.equal(weight, stored[name]) for name, weight in whole.network.state_dict().items())
    other = {**BESIDE, "condition_images": HALF[::-1].copy()}
    with pytest.raises(RunError, match="condition_images"):
        train(GREY, tmp_path / "parts", steps=5, overrides=constant, **other)


def test_the_held_out_images_are_read_with_their_pairs(tmp_path):
    for name, images in (("images", GREY), ("half", HALF), ("masks", np.where(MISSING, 255, 0).astype(np.uint8))):
        (tmp_path / name).mkdir()
        for i, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / name / f"{i:02d}.png")
    rows = "".join(f"{i:02d}.png,{a},{b}\n" for i, (a, b) in enumerate(NUMBERS))
    (tmp_path / "table.csv").write_text(f"image,age,depth\n{rows}")
    paths = {"mask": tmp_path / "masks", "table": tmp_path / "table.csv", "condition_images": tmp_path / "half"}
    run = train(tmp_path / "images", tmp_path / "run", held_out=4, **paths)
    split = data_of(run)
    told = Condition.of(split.test.condition(range(4)))
    assert told.vector.shape == (4, 2) and told.image.shape == (4, 1, 12, 12) and not bool(told.observed.all())
    assert run.config.data.columns == ("age", "depth") and split.test.scale == run.config.data.scale
    assert run.bound(split.test).observed < 1
    resumed = nelbo.train(None, tmp_path / "run", steps=3, pictures=False)
    assert resumed.config.data.condition_images == str(tmp_path / "half")
    (tmp_path / "half" / "00.png").unlink()
    with pytest.raises(DataError, match=r"no picture for 00\.png"):
        data_of(run)


def test_classes_and_pairs_are_withheld_alone_and_together():
    """Of 20,000 examples: labels 0.1, pairs 0.2, and both together 0.1 more; within 5 standard errors."""
    recipe = preset("images").with_overrides({"conditional": True, "condition_dropout": 0.2})
    recipe = fit_to_data(recipe, (1, 8, 8), [100, 100], 256, Takes(size=2))
    draws = build_diffusion_objective(recipe, 256).draw(20_000, (1, 1, 1), torch.Generator().manual_seed(0))
    label, pair = draws["withheld"], draws["condition_withheld"]
    for rate, expected in (
        (label, 1 - 0.9 * 0.9),
        (pair, 1 - 0.8 * 0.9),
        (label & pair, 0.1 + 0.9 * 0.1 * 0.2),
    ):
        assert abs(float(rate.float().mean()) - expected) < 5 * (expected * (1 - expected) / 20_000) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "condition_images"])
def test_a_told_model_needs_about_the_bits_that_the_condition_leaves(kind, tmp_path):
    """x = level + N(0, 3^2): 3.63 bits/dim are left of a known level. Within 0.7 after 300 steps; untold, over 5."""
    level = np.random.default_rng(0).uniform(40, 215, (512, 1, 1)).round()
    images = (level + np.random.default_rng(1).normal(0, 3, (512, 2, 2))).round().astype(np.uint8)
    beside = {"table": level[:, 0, 0], "condition_images": np.broadcast_to(level, images.shape).astype(np.uint8)}[kind]
    overrides = {
        **TINY,
        "schedule.num_steps": 50,
        "schedule.kind": "log-linear",
        "network.multipliers": (1,),
        "network.base": 32,
        "network.blocks": 2,
        "training.batch_size": 64,
        "training.ema": 0.97,
        "training.learning_rate": 3e-3,
        "training.warmup": 20,
    }
    run = train(images, tmp_path / "run", steps=300, overrides=overrides, preset="images", **{kind: beside})
    told = run.bound(run.beside(images[:200], **{kind: beside[:200]})).total
    assert 3.5 < told < 3.63 + 0.7
    assert run.bound(images[:200]).total > 5
