"""Latent diffusion and diffusion of pixels side by side, at equal minutes, on a folder of images in colour.

python -m benchmarks.latent --data emoji --out runs/latent --minutes 60

`emoji` is a folder with a sub-folder for each class, such as `benchmarks.emoji` writes. The features of the Frechet
distance are those of a classifier of these classes, which is trained on the training images. A budget counts the time
of the clock, or with `--cpu-time` the processor time of this process. What is finished is not done again.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import nelbo
from nelbo.data import Split, load_data
from nelbo.evaluation import FeatureModule, frechet_distance
from nelbo.networks import ClassifierOptions
from nelbo.plots import sample_grid, save
from nelbo.runs import Run
from nelbo.studies.classifiers import train_features

MODELS = {"latent": "latent", "pixels": "images"}  # presets
FEATURES, FEATURE_STEPS = 64, 1500


@dataclass(frozen=True)
class Row:
    """The figures of a model.

    Attributes:
        parameters: weights of its networks.
        minutes: the budget.
        distance, low, high: the Frechet distance of samples to the held-out images, and its interval.
        kernel: the kernel distance.
        bits: the bound on held-out images, in bits/dim.
    """

    parameters: int
    minutes: float
    distance: float
    low: float
    high: float
    kernel: float
    bits: float


def features_for(split: Split, steps: int = FEATURE_STEPS) -> FeatureModule:
    """Return the features of a classifier of the classes."""
    widths = (16, 32, 64, 64)
    options = ClassifierOptions(split.train.shape, len(split.train.class_names), widths, FEATURES)
    return train_features(split, options, steps=steps).features


def measure(run: Run, split: Split, features: FeatureModule, minutes: float, num: int, out: Path) -> Row:
    """Sample a model, draw a grid, and compare the samples with the held-out images."""
    held_out = split.require_test()
    samples = run.sample(num, seed=1, progress=True)
    save(sample_grid(samples[:64], run.levels), out / f"{run.folder.name}.png")
    report = frechet_distance(samples, held_out, features, split="held-out images", resamples=100)
    bits = run.score(held_out.subset(range(min(256, len(held_out)))), steps_per_image=8).mean()
    return Row(
        parameters=sum(each.numel() for name, each in run.tensors().items() if each.is_floating_point()),
        minutes=minutes,
        distance=report.distance,
        low=report.low,
        high=report.high,
        kernel=report.kernel,
        bits=float(bits),
    )


def table(rows: dict[str, Row]) -> str:
    """Return a Markdown table of the rows."""
    lines = [
        "| model | weights | minutes | Frechet distance | interval | kernel distance | bits/dim |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        interval = f"{row.low:.1f} to {row.high:.1f}"
        lines.append(
            f"| {name} | {row.parameters:,} | {row.minutes:g} | {row.distance:.1f} | {interval} | {row.kernel:.1f} | "
            f"{row.bits:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", required=True, help="folder of images with a sub-folder for each class")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs, grids and figures")
    parser.add_argument("--minutes", type=float, default=60, help="training time of each model")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--num", type=int, default=1000, help="samples")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu-time", action="store_true", help="count processor time")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.cpu_time:
        time.monotonic = time.process_time  # what the budget of a training counts
    split = load_data(options.data, size=options.size, mode="RGB")
    rows = {}
    for name in options.models:
        run = nelbo.train(
            options.data,
            options.out / name,
            preset=MODELS[name],
            minutes=options.minutes,
            size=options.size,
            mode="RGB",
            pictures=False,
            progress=True,
        )
        rows[name] = measure(run, split, features_for(split), options.minutes, options.num, options.out)
        (options.out / f"{name}.json").write_text(json.dumps(asdict(rows[name]), indent=2))
        print(table(rows), flush=True)


if __name__ == "__main__":
    main()
