"""Train the bundled classifiers, whose features the Frechet distances compare.

`python -m benchmarks.train_classifier digits` (or fashion-mnist) overwrites
src/nelbo/models/classifiers/NAME.safetensors and measures the accuracy on the held-out images. It takes about half a
minute for digits and a few minutes for fashion-mnist on one CPU core.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from nelbo.data import load_data
from nelbo.networks import ClassifierOptions
from nelbo.studies.classifiers import ENDING, train_features

FOLDER = Path(__file__).parents[1] / "src" / "nelbo" / "models" / "classifiers"


@dataclass(frozen=True)
class Plan:
    """The network and the training of a classifier."""

    options: ClassifierOptions
    steps: int
    movement: float


PLANS = {
    "digits": Plan(ClassifierOptions((1, 8, 8), 10, (32, 64), 32), 1500, 1.0),
    "fashion-mnist": Plan(ClassifierOptions((1, 28, 28), 10, (16, 32, 64), 64), 3000, 0.3),
}


def main() -> None:
    """Train, measure and save one classifier."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_classifier", description=__doc__)
    parser.add_argument("data", choices=PLANS)
    parser.add_argument("--out", type=Path, help="file to write instead of the bundled one")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    plan, began = PLANS[arguments.data], time.monotonic()
    torch.set_num_threads(1)  # several threads would sum in another order

    def progress(done: int, total: int) -> None:
        if done % 100 == 0:
            print(f"step {done} of {total}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    trained = train_features(
        load_data(arguments.data),
        plan.options,
        steps=plan.steps,
        movement=plan.movement,
        seed=arguments.seed,
        progress=progress,
    )
    path = arguments.out or FOLDER / f"{arguments.data}{ENDING}"
    trained.save(path)
    card = trained.card
    print(f"{path}: {path.stat().st_size} bytes, accuracy {card.accuracy:.4f} on {card.num_held_out} held-out images")


if __name__ == "__main__":
    main()
