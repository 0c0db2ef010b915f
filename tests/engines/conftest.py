"""A tiny model of grey images of 8x8 pixels, and the images, in files."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nelbo.engines import Piece, ScoreJob
from nelbo.runs import DiffusionRun, load_as
from nelbo.studies import train
from tests.conftest import made_once, write_pictures

OVERRIDES = {
    "schedule.num_steps": 20,
    "schedule.log_snr_max": 8.0,
    "schedule.log_snr_min": -8.0,
    "parameterization": "noise",
    "loss": "simple",
    "timesteps": "uniform",
    "decoder.kind": "gaussian",
    "network.base": 8,
    "network.groups": 4,
    "network.multipliers": [1, 2],
    "network.blocks": 1,
    "network.attention": [],
    "network.middle_attention": False,
    "network.fourier": [],
    "training.steps": 4,
    "training.batch_size": 8,
    "training.optimizer": "adamw",
    "training.precision": "fp32",
    "training.compile": False,
}


def _trained(folder: Path) -> None:
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (101, 8, 8), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    write_pictures(folder / "pictures", 11)
    train(str(folder / "images.npy"), folder / "run", preset="images", overrides=OVERRIDES, pictures=False)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `run`, `images.npy` of 101 images, and `pictures` of 11 coloured ones."""
    return made_once(tmp_path_factory, "engines", _trained)


@pytest.fixture
def run(place: Path) -> DiffusionRun:
    return load_as(DiffusionRun, place / "run", device="cpu")


class FallingJob:
    """A `ScoreJob` whose workers end once without a word, as `kill -9` ends them, at the parts of the given numbers.

    Args:
        job: the work.
        memory: a folder in which a worker notes that it fell.
        at: the numbers of the parts.
        often: how often a part ends its worker.
    """

    def __init__(self, job: ScoreJob, memory: Path, at: tuple[int, ...], often: int = 1) -> None:
        self.job, self.memory, self.at, self.often = job, memory, at, often

    def open(self) -> Callable[[Piece], Any]:
        work = self.job.open()

        def do(piece: Piece) -> Any:
            number = piece.part.number
            falls = len(list(self.memory.glob(f"{number}.*")))
            if number in self.at and falls < self.often:
                (self.memory / f"{number}.{falls}").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return work(piece)

        return do
