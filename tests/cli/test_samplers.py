"""`nelbo sample` with every sampler and with guidance, and `nelbo plot samplers`."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import nelbo.runs.diffusion_model
from nelbo.samplers import SAMPLERS

WITHOUT_CLASSES = Path(__file__).parents[1] / "codec" / "golden" / "fashion-mnist-v1"
SMALL = ("network.base=8", "network.groups=4", "network.blocks=1", "network.multipliers=[1]", "network.fourier=[]")


def drawn(nelbo_cli, tmp_path, *options):
    done = nelbo_cli("sample", "fashion-mnist", "--num", 2, "--out", "x.npy", "--precision", "fp32", *options)
    assert done.code == 0, done.err
    return np.load(tmp_path / "x.npy")


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_images(nelbo_cli, tmp_path, name):
    images = drawn(nelbo_cli, tmp_path, "--sampler", name, "--steps", 3)
    assert images.shape == (2, 1, 28, 28) and images.std() > 10


def test_sampling_options_change_the_images(nelbo_cli, tmp_path):
    plain = drawn(nelbo_cli, tmp_path, "--sampler", "ddim", "--steps", 4)
    for options in (("--spacing", "even"), ("--spacing", "log-snr"), ("--eta", 1), ("--threshold", 0.9)):
        assert not np.array_equal(plain, drawn(nelbo_cli, tmp_path, "--sampler", "ddim", "--steps", 4, *options))
    euler = drawn(nelbo_cli, tmp_path, "--sampler", "euler", "--steps", 4)
    assert np.abs(euler.astype(int) - plain).max() <= 2
    assert not np.array_equal(euler, drawn(nelbo_cli, tmp_path, "--sampler", "euler", "--steps", 4, "--churn", 1))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--sampler", "dimm"), "unknown sampler 'dimm'; did you mean 'ddim'?"),
        (("--spacing", "karas"), "unknown spacing 'karas'; did you mean 'karras'?"),
        (("--eta", 0.5), "'dpm-solver++sde' does not support --eta; remove it or set --sampler ddim"),
        (("--variance", "trained"), "'dpm-solver++sde' does not use it; remove it or set --sampler ancestral"),
        (
            ("--sampler", "ancestral", "--eta", 0.5),
            "'ancestral' does not support --eta; remove it or set --sampler ddim",
        ),
        (("--sampler", "ddim", "--churn", 1), "set --sampler euler or --sampler heun"),
        (("--sampler", "ddim", "--eta", 2), "--eta must be within 0..1, got 2"),
        (
            ("--sampler", "ddim", "--variance", "trained"),
            "--variance applies to Algorithm 2 only",
        ),
        (("--no-clip", "--threshold", 0.9), "--threshold replaces clipping; remove --no-clip or --threshold"),
        (("--num", 99_999_999_999), "would not fit into memory"),
        (("--threshold", 1.5), "the threshold is a share of the pixels"),
        (("--threshold-max", 1.5), "--threshold-max limits the bound of --threshold; give both or neither"),
        (("--threshold", 0.9, "--threshold-max", 0.5), "must be at least 1, the end of the range of the data, got 0.5"),
        (("--sampler", "ddim", "--guidance-interval", 0.2, 0.8), "--guidance-interval says where --guidance applies"),
        (("--steps", 0), "the number of steps must be a whole number within 1..1000, got 0"),
    ],
)
def test_wrong_options_give_one_sentence(nelbo_cli, tmp_path, options, named):
    done = nelbo_cli("sample", "fashion-mnist", "--num", 1, "--out", "x.npy", *options)
    assert done.code == 2 and not (tmp_path / "x.npy").exists()
    assert named in done.err and done.err.strip().count("\n") == 0


@pytest.mark.parametrize("options", [("--guidance", 2), ("--label", "sneaker")])
def test_model_without_classes_has_no_label_and_no_guidance(nelbo_cli, tmp_path, options):
    done = nelbo_cli("sample", WITHOUT_CLASSES, "--num", 1, "--out", "x.npy", *options)
    assert done.code == 2 and f"is not class-conditional; remove {options[0]}" in done.err


def test_class_labels_and_guidance(nelbo_cli, tmp_path, monkeypatch):
    settings = [part for setting in SMALL for part in ("--set", setting)]
    done = nelbo_cli("train", "--data", "digits", "--out", "by-class", "--steps", 3, *settings)
    assert done.code == 0, done.err
    assert "class-conditional (10 classes)" in done.err
    assert "the model learns the 10 classes of the images; --unconditional ignores them" in done.err

    def sampled(*options):
        done = nelbo_cli("sample", "by-class", "--num", 4, "--steps", 3, "--out", "x.npy", *options)
        assert done.code == 0, done.err
        return np.load(tmp_path / "x.npy")

    seven = sampled("--label", 7)
    assert np.array_equal(seven, sampled("--label", 7, "--guidance", 1))
    assert seven.shape == sampled("--label", "all", "--guidance", 30).shape
    numbers = []
    monkeypatch.setattr(
        nelbo.runs.diffusion_model,
        "drawn_classes",
        lambda data, num, *, seed, first: numbers.extend(range(first, first + num)) or torch.zeros(num).long(),
    )
    assert np.array_equal(sampled("--guidance", 2, "--batch-size", 3), sampled("--label", 0, "--guidance", 2))
    assert set(numbers) == {0, 1, 2, 3}
    numbers.clear()
    assert sampled("--label", "none").shape == seven.shape
    assert numbers == []
    for options, named in (
        (("--label", 10), "unknown class '10'"),
        (
            ("--label", "none", "--guidance", 2),
            "--guidance follows a class; set --label to a class, or remove --guidance",
        ),
        (("--label", 1, "--guidance", 2, "--guidance-interval", 0.9, 0.1), "two rising shares of the chain"),
    ):
        done = nelbo_cli("sample", "by-class", "--num", 1, "--steps", 2, "--out", "y.npy", *options)
        assert done.code == 2 and named in done.err


def test_plot_samplers_writes_a_picture(nelbo_cli, tmp_path):
    done = nelbo_cli(
        *("plot", "samplers", "fashion-mnist", "--sampler", "ddim", "--sampler", "heun", "--calls", 1, "--calls", 4),
        *("--num", 1, "--out", "several.png"),
    )
    assert done.code == 0, done.err
    with Image.open(tmp_path / "several.png") as picture:
        assert picture.width > 200 and picture.height > 200
    done = nelbo_cli("plot", "samplers", "fashion-mnist", "--sampler", "huen", "--out", "no.png")
    assert done.code == 2 and "did you mean 'heun'" in done.err


def test_wrong_output_files_are_refused_early(nelbo_cli, tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("")
    for out, named in (("folder.png", "folder.png is a folder"), ("file/x.png", "file is a file, not a folder")):
        done = nelbo_cli("sample", "fashion-mnist", "--out", out)  # without the refusal this would take 64 x 20 calls
        assert done.code == 2 and named in done.err
    done = nelbo_cli("plot", "samplers", "fashion-mnist", "--sampler", "ddim", "--calls", 1001, "--out", "no.png")
    assert done.code == 2 and "--calls 1001: ddim has at most 1000 here" in done.err
