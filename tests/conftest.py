"""Shared fixtures: a data set and a recipe so small that a training run takes a second."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from filelock import FileLock
from matplotlib.figure import Figure
from PIL import Image

from nelbo.data import ArrayDataset, load_data
from nelbo.networks import UNetOptions
from nelbo.recipes import Recipe, ScheduleOptions
from nelbo.training import TrainerOptions

hypothesis.settings.register_profile("nelbo", deadline=None)  # a busy machine is not a failure
hypothesis.settings.load_profile("nelbo")

TINY_NETWORK = UNetOptions(
    channels=1, base=8, multipliers=(1, 2), blocks=1, attention=(), middle_attention=False, groups=4, dropout=0.1
)
TINY_TRAINING = TrainerOptions(
    steps=6, batch_size=8, learning_rate=1e-3, warmup=3, ema=0.9, precision="fp32", log_every=2, flip=True, seed=3
)

# Parts of the names of tests that look at figures, or that run whole sequences of commands.
DRAWN = ("plot", "figure", "drawn", "table2", "rate_distortion", "docs", "stranger", "examples", "notebook")


@pytest.fixture(scope="session")
def tiny_data() -> ArrayDataset:
    """Forty digits with their classes."""
    return load_data("digits").train.subset(torch.arange(40))


@pytest.fixture(scope="session")
def tiny_recipe() -> Recipe:
    """A recipe of twenty steps, a U-Net of a few thousand weights, and importance-sampled t."""
    return Recipe(
        schedule=ScheduleOptions(kind="log-linear", num_steps=20, log_snr_max=6.0, log_snr_min=-8.0),
        network=TINY_NETWORK,
        timesteps="importance",
        training=TINY_TRAINING,
    )


def write_pictures(folder: Path, num: int, size: tuple[int, int] = (8, 8), classes: int = 0) -> Path:
    """Write `num` noisy RGB PNGs, in one sub-folder per class."""
    generator = np.random.default_rng(0)
    for i in range(num):
        place = folder / f"class-{i % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"picture-{i:03d}.png")
    return folder


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return an own copy of the folder `name` that `make` fills, once for all workers of pytest-xdist."""
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            part = Path(f"{shared}.part")
            shutil.rmtree(part, ignore_errors=True)
            make(part)
            part.rename(shared)
    return Path(shutil.copytree(shared, factory.mktemp("own") / name))


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a folder of PNGs in the test's folder."""
    return lambda name="pictures", num=12, size=(8, 8), classes=0: write_pictures(tmp_path / name, num, size, classes)


@pytest.fixture(autouse=True)
def empty_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Save empty figures, except in the tests of `DRAWN`: drawing takes a third of the time of a tiny training."""
    if not any(part in request.node.nodeid for part in DRAWN):
        save = Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda self, *given, **named: save(Figure((1, 1)), *given, **named))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Use one thread: bitwise comparisons need one order of summation, and forked processes no other threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
