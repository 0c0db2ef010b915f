"""Tiny models with codec plans: one for 8 x 8 digits of 17 levels, one for 8 x 8 images in colour."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.codec import FittingOptions, ProgressiveCodec
from nelbo.codec.channel_fitting import fit_channel
from nelbo.data import ImageDataset, load_data
from nelbo.runs import DiffusionRun, fit_codec, load_as
from nelbo.runs.integer_model import IntegerModel
from nelbo.studies import data_of, train
from tests.conftest import made_once
from tests.lattice.tiny import digits as digits_of_training
from tests.lattice.tiny import trained_model

GOLDEN = Path(__file__).parent / "golden"
TINY = {
    "schedule.num_steps": 60,
    "schedule.log_snr_max": 8.0,
    "schedule.log_snr_min": -10.5,
    "parameterization": "noise",
    "loss": "simple",
    "timesteps": "uniform",
    "network.base": 16,
    "network.groups": 4,
    "network.multipliers": [1, 2],
    "network.blocks": 1,
    "network.attention": [],
    "network.middle_attention": False,
    "network.fourier": [],
    "training.steps": 300,
    "training.batch_size": 32,
    "training.learning_rate": 2e-3,
    "training.warmup": 10,
    "training.ema": 0.95,
    "training.precision": "fp32",
    "training.compile": False,
}
FIT = FittingOptions(
    end_images=400,
    end_steps=150,
    trial_steps=20,
    end_batch=16,
    hidden=8,
    table_images=32,
    sent_images=16,
    stops=(1.0, 3.0),
)


def tiny_codec_run(folder: Path, overrides: dict[str, object] = TINY) -> DiffusionRun:
    """Train a model of the digits in `folder` and fit its codec plan, in about ten seconds."""
    train("digits", folder, preset="digits", overrides=overrides)
    run = load_as(DiffusionRun, folder, device="cpu")
    fit_codec(run, load_data("digits").train, FIT)
    return run


def tiny_codec_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a copy of the golden run `classes`, which `tiny_codec_run` made."""
    return Path(shutil.copytree(GOLDEN / "classes", factory.mktemp("classes") / "run"))


def ramps(num: int, height: int, width: int, seed: int) -> np.ndarray:
    """Draw smooth images (num, 3, height, width): ramps of nearly the same direction in the three channels of each."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 8
    turns = generator.uniform(-1, 1, (num, 1, 2)) + generator.uniform(-0.2, 0.2, (num, 3, 2))
    values = 128 + 60 * (turns[:, :, 0, None, None] * x + turns[:, :, 1, None, None] * y)
    return (values + generator.normal(0, 2, values.shape)).clip(0, 255).round().astype(np.uint8)


def colour_codec_run(folder: Path, overrides: Mapping[str, object] | None = None) -> DiffusionRun:
    """Train a model of 8 x 8 `ramps` in an empty folder, which also holds the images, and fit its codec plan."""
    pictures = folder / "pictures"
    pictures.mkdir()
    for i, image in enumerate(ramps(200, 8, 8, seed=0)):
        Image.fromarray(image.transpose(1, 2, 0)).save(pictures / f"{i}.png")
    bits = {"loss": "variational", "timesteps": "importance", "decoder.kind": "gaussian", "training.optimizer": "adamw"}
    changes = {**bits, "training.steps": 200, "schedule.log_snr_max": 12.0, **(overrides or {})}
    train(str(pictures), folder / "run", preset="images", overrides={**TINY, **changes})
    run = load_as(DiffusionRun, folder / "run", device="cpu")
    fit_codec(run, data_of(run).train, FIT)
    return run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> DiffusionRun:
    return load_as(DiffusionRun, tiny_codec_folder(tmp_path_factory), device="cpu")


@pytest.fixture(scope="session")
def integer_run(tmp_path_factory: pytest.TempPathFactory) -> IntegerModel:
    """A trained integer model of the digits with its channel."""

    def make(folder: Path) -> None:
        folder.mkdir()
        model = trained_model()
        IntegerModel(model, fit_channel(model, digits_of_training(64))).save(folder)

    torch.set_num_threads(1)
    return IntegerModel.load(made_once(tmp_path_factory, "tiny-integers", make))


@pytest.fixture(scope="session")
def codec(run: DiffusionRun) -> ProgressiveCodec:
    return run.codec()


@pytest.fixture(scope="session")
def digits() -> ImageDataset:
    """Held-out digits."""
    return load_data("digits").require_test()
