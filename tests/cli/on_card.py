"""Every command on a simulated device; `test_device.py` runs this file in a process of its own."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.codec import FittingOptions
from nelbo.runs import codec_plan as codec_run
from nelbo.runs import diffusion_model
from tests.card import Disguised, OnCard
from tests.cli.conftest import Outcome
from tests.codec.conftest import FIT, TINY

CARD = ("--device", "card")


@pytest.fixture(autouse=True)
def disguised(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(diffusion_model, "bf16_wanted", lambda precision: False)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # parameters become tensors of another class
    yield
    torch.__future__.set_overwrite_module_params_on_conversion(before)


@pytest.fixture
def on_card(nelbo_cli: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """`nelbo_cli` with --device card; the command must succeed."""

    def call(*arguments: object) -> Outcome:
        with Disguised():
            outcome = nelbo_cli(*arguments, *CARD)
        assert outcome.code == 0, outcome.err
        return outcome

    return call


def test_simulated_card_refuses_mixed_devices():
    with Disguised():
        here, there = torch.arange(3.0), torch.arange(3.0, device="card")
        assert isinstance(there + 1, OnCard)
        assert there.cpu().tolist() == there.tolist() == [0, 1, 2]
        assert (there[torch.tensor([2])] + torch.tensor(1.0)).tolist() == [3]
        with pytest.raises(RuntimeError, match="same device"):
            here + there
        with pytest.raises(RuntimeError, match="same device"):
            torch.searchsorted(there, here)
        with pytest.raises(RuntimeError, match="generator"):
            torch.randn(3, device="card", generator=torch.Generator())


@pytest.mark.parametrize("spacing", ["even", "log-snr", "karras"])
@pytest.mark.parametrize("sampler", ["ancestral", "ddim", "euler", "heun", "dpm-solver++", "dpm-solver++sde", "unipc"])
def test_sample(on_card, trained, sampler, spacing):
    on_card("sample", trained, "--num", 2, "--steps", 3, "--sampler", sampler, "--spacing", spacing, "--out", "s.png")


def test_evaluate_and_score(on_card, trained):
    on_card("evaluate", trained, "--forms", "--known", "--num", 2)
    on_card("evaluate", trained, "--ode", "--num", 1, "--tolerance", 1)
    on_card("score", trained.parent / "pictures", "-m", trained)
    on_card("score", trained.parent / "pictures", "-m", trained, "--steps-per-image", 3)


@pytest.mark.parametrize(
    "damage",
    [
        ("--mask", "mask.png"),
        ("--mask", "mask.png", "--method", "null-space"),
        ("--noise", "20"),
        ("--noise", "20", "--sampler", "dpm-solver++sde"),
        ("--strength", "0.5", "--sampler", "ddim"),
        ("--upscale", "2"),
        ("--colour",),
    ],
)
def test_restore(on_card, trained, damage):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    image = Image.fromarray(pixels[:4, :4] if "--upscale" in damage else pixels)
    (image.convert("L") if "--colour" in damage else image).save("image.png")
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[2:5, 2:5] = 255
    Image.fromarray(mask).save("mask.png")
    on_card("restore", "image.png", "-m", trained, *damage, "--num", 2, "--steps", 4, "--spread", "spread.png")


@pytest.mark.parametrize(
    "plot",
    [
        ("shared", "--steps", 5, "--num", 2),
        ("interpolation", "--steps", 5, "--pair", 0, 0),
        ("neighbours", "--num", 2, "--steps", 5),
        ("progressive", "--num", 2, "--steps", 5),
        ("rate-distortion", "--num", 2),
        ("samplers", "--num", 1, "--calls", 3),
    ],
)
def test_plots_of_images(on_card, trained, plot):
    on_card("plot", plot[0], trained, *plot[1:])


def test_points(nelbo_cli, on_card):
    few = ("--steps", 3, "--set", "schedule.num_steps=10", "--precision", "fp32")
    assert nelbo_cli("train", "--data", "toy:moons", "--out", "points", *few).code == 0
    on_card("plot", "points", "points", "--num", 50)
    on_card("sample", "points", "--num", 4, "--steps", 3, "--out", "points.npy")
    on_card("evaluate", "points", "--num", 10)


def test_classes(nelbo_cli, on_card):
    small = [f"--set={name}={value}" for name, value in (("schedule.num_steps", 10), ("network.base", 8))]
    small += ["--set=network.groups=4", "--set=network.blocks=1", "--steps=3", "--batch-size=4", "--precision=fp32"]
    assert nelbo_cli("train", "--data", "digits", "--conditional", "--out", "classes", *small).code == 0
    guided = ("--label", "3", "--guidance", 2, "--guidance-interval", 0.2, 0.8)
    on_card("sample", "classes", "--num", 2, "--steps", 3, "--out", "s.png", *guided)
    on_card("evaluate", "classes", "--num", 4)
    on_card("frechet", "classes", "--num", 70, "--steps", 2)


def test_autoencoder(nelbo_cli, on_card):
    assert nelbo_cli("train", "--data", "digits", "--preset", "vae-digits", "--steps", 3, "--out", "vae").code == 0
    on_card("sample", "vae", "--num", 2, "--out", "s.png")
    on_card("evaluate", "vae", "--num", 8)
    on_card("plot", "monte-carlo", "vae", "--num", 1, "--samples", 10, "--fit", 3)


def test_codec(nelbo_cli, on_card, monkeypatch):
    few = {**TINY, "training.steps": 20}
    settings = [part for name, value in few.items() for part in ("--set", f"{name}={json.dumps(value)}")]
    assert nelbo_cli("train", "--data", "digits", "--preset", "digits", "--out", "run", *settings).code == 0
    monkeypatch.setattr(codec_run, "fit_plan", with_few(codec_run.fit_plan))
    on_card("codec", "run")
    Image.fromarray(np.full((8, 8), 12, dtype=np.uint8)).save("image.png")
    on_card("compress", "image.png", "-m", "run", "--effort", 1, "-o", "image.nelbo", "--report")
    on_card("decompress", "image.nelbo", "-m", "run", "-o", "back.png")
    assert np.array_equal(np.asarray(Image.open("back.png")), np.asarray(Image.open("image.png")))


def with_few(fit_plan: Callable[..., object]) -> Callable[..., object]:
    def fit(reverse: object, images: object, options: FittingOptions | None, progress: object) -> object:
        return fit_plan(reverse, images, FIT, progress)

    return fit
