"""The commands on a variational autoencoder."""

import csv
import json
import shutil

import pytest
from PIL import Image

SETTINGS = ("network.latent=4", "network.base=4", "network.hidden=16", "training.log_every=2")
TRAIN = [
    *("train", "--data", "digits", "--preset", "vae-digits", "--out", "vae", "--steps", "4", "--batch-size", "8"),
    *("--precision", "fp32", "--seed", "1", *(part for setting in SETTINGS for part in ("--set", setting))),
]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The place of the first trained run, and its output once it is trained."""
    return {"run": tmp_path_factory.mktemp("kept") / "vae"}


@pytest.fixture
def trained_vae(nelbo_cli, kept, tmp_path):
    """A run `vae` in the working folder, trained once. Returns the output of the training."""
    if "shown" in kept:
        shutil.copytree(kept["run"], tmp_path / "vae")
    else:
        shown = nelbo_cli(*TRAIN)
        assert shown.code == 0, shown.err
        shutil.copytree(tmp_path / "vae", kept["run"])
        kept["shown"] = shown
    return kept["shown"]


def test_training_prints_no_diffusion_terms(nelbo_cli, trained_vae):
    assert "variational autoencoder, 4 latent dimensions, discretized decoder with a learned stddev, fp32" in (
        trained_vae.err
    )
    assert "held-out bound" in trained_vae.err
    for foreign in ("schedule", "variance", "calibrating"):
        assert foreign not in trained_vae.err


def test_evaluate_splits_the_elbo(nelbo_cli, trained_vae, tmp_path):
    shown = nelbo_cli("evaluate", "vae", "--num", 20, "--json", "elbo.json")
    assert shown.code == 0
    assert all(word in shown.out for word in ("reconstruction", "KL(q(z|x) || p(z))", "-ELBO (total)", "+-"))
    found = json.loads((tmp_path / "elbo.json").read_text())
    bits = found["bits_per_dim"]
    assert bits["total"] == pytest.approx(bits["reconstruction"] + bits["kl"])
    assert bits["standard_error"] > 0
    assert (found["num_images"], found["decoder"], found["draws"]) == (20, "discretized", 4)


def test_evaluate_marks_a_density(nelbo_cli):
    assert nelbo_cli(*TRAIN, "--set", "network.decoder=gaussian").code == 0
    assert "a density, not a bound on the bits of the levels" in nelbo_cli("evaluate", "vae", "--num", 5).out


def test_sample_and_score(nelbo_cli, trained_vae, tmp_path):
    assert nelbo_cli("sample", "vae", "--num", 4, "--out", "four.png").code == 0
    with Image.open(tmp_path / "four.png") as picture:
        assert picture.size == (2 * 74 + 2, 2 * 74 + 2)
    shown = nelbo_cli("score", "digits", "-m", "vae", "--csv", "bits.csv")
    assert shown.code == 0
    bits = [float(row["bits_per_dim"]) for row in csv.DictReader((tmp_path / "bits.csv").open())]
    assert len(bits) == 297
    assert bits == sorted(bits, reverse=True)


def test_monte_carlo_is_drawn_written_and_printed(nelbo_cli, trained_vae, tmp_path):
    shown = nelbo_cli(
        *("plot", "monte-carlo", "vae", "--num", 3, "--samples", 100, "--fit", 3),
        *("--csv", "mc.csv", "--json", "mc.json", "--out", "mc.png"),
    )
    assert shown.code == 0, shown.err
    assert "nats per image below the importance-weighted bound" in shown.out
    rows = list(csv.DictReader((tmp_path / "mc.csv").open()))
    assert [row["samples"] for row in rows] == ["1"] * 3 + ["10"] * 3 + ["100"] * 3
    found = json.loads((tmp_path / "mc.json").read_text())
    means = found["mean_nats"]
    assert [row["samples"] for row in means] == [1, 10, 100]
    assert found["fit"] == 3 and {"fitted_importance", "fitted_elbo"} < set(means[0])
    last = [float(row["importance"]) for row in rows[-3:]]
    assert means[-1]["importance"] == pytest.approx(sum(last) / 3)
    assert f"{means[-1]['importance']:.2f}" in shown.out
    with Image.open(tmp_path / "mc.png") as picture:
        assert picture.width > 1000


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (("sample", "vae", "--steps", 3, "--no-clip"), "remove --steps, --no-clip"),
        (("sample", "vae", "--label", 3), "remove --label"),
        (("evaluate", "vae", "--forms"), "remove --forms"),
        (("evaluate", "vae", "--ode"), "remove --ode"),
        (("evaluate", "vae", "--steps-per-image", 0), "remove --steps-per-image"),
        (("score", "digits", "-m", "vae", "--steps-per-image", 4), "remove --steps-per-image"),
        (("score", "digits", "-m", "vae", "--heat-map", "maps"), "remove --heat-map"),
        (("plot", "rate-distortion", "vae"), "this needs a diffusion model"),
        (("plot", "forward", "vae"), "this needs a diffusion model"),
        (("plot", "progressive", "vae"), "this needs a diffusion model"),
        (("plot", "schedules", "vae"), "this needs a diffusion model"),
        (("plot", "shared", "vae"), "this needs a diffusion model"),
        (("plot", "interpolation", "vae"), "this needs a diffusion model"),
        (("plot", "neighbours", "vae"), "this needs a diffusion model"),
        (("plot", "points", "vae"), "this needs a diffusion model"),
        (("plot", "monte-carlo", "fashion-mnist"), "this needs a variational autoencoder"),
        ((*TRAIN[:7], "--conditional"), "unknown setting (conditional)"),
        ((*TRAIN[:7], "--set", "schedule.kind=cosine"), "unknown setting (schedule.kind)"),
    ],
)
def test_unsupported_commands_are_refused(nelbo_cli, trained_vae, command, named):
    shown = nelbo_cli(*command)
    assert shown.code == 2
    assert shown.err.strip().startswith("error: ")
    assert named in shown.err
    assert shown.err.strip().count("\n") == 0


def test_frechet_uses_the_bundled_classifier(nelbo_cli, trained_vae, tmp_path):
    shown = nelbo_cli("frechet", "vae", "--num", 60, "--resamples", 20, "--json", "frechet.json")
    assert shown.code == 0, shown.err
    found = json.loads((tmp_path / "frechet.json").read_text())
    assert (found["sampler"], found["steps"], found["spacing"]) == (None, None, None)
    assert found["features"] == "digits classifier" and found["accuracy"] > 0.96
    assert "60 generated images against 297 held-out images of digits" in shown.out
    assert f"accuracy {found['accuracy']:.1%} on held-out images" in shown.out
    assert found["low"] > 20  # of 32 features: an untrained model is far from anything
    shown = nelbo_cli("frechet", "vae", "--steps", 3, "--precision", "bf16")
    assert shown.code == 2 and "remove --steps, --precision" in shown.err
