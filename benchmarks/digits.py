"""Networks and schedules side by side on the 8x8 digits, at equal minutes of a processor.

python -m benchmarks.digits --out runs/digits --minutes 4

A budget counts the processor time of this process on one thread, so that other work on the machine does not matter. A
finished model is not trained again.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import nelbo
from nelbo.data import ImageDataset, load_data
from nelbo.evaluation import measure_bound
from nelbo.runs import DiffusionRun, load_as

CONTINUOUS = {"timesteps": "continuous"}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "U-Net": ("digits", {}),
    "DiT": ("dit-digits", {}),
    "U-Net, continuous t": ("digits", CONTINUOUS),
    "U-Net, learned schedule": ("digits", {**CONTINUOUS, "schedule.kind": "learned"}),
}
DRAWS, SEEDS = 8, 10  # values of t in an estimate, and estimates of an image


@dataclass(frozen=True)
class Row:
    """The figures of a model on test images.

    Attributes:
        parameters: weights of the network.
        steps: optimizer steps.
        bits: the bound over all t, in bits/dim.
        error: its standard error over the images.
        spread: the standard deviation of an image's estimate by `DRAWS` values of t, drawn from even strata, in
            bits/dim: the root of its mean square over the images.
    """

    parameters: int
    steps: int
    bits: float
    error: float
    spread: float


def measure(run: DiffusionRun, images: ImageDataset) -> Row:
    """Return the figures of a run."""
    reverse, steps = run.reverse(clip=True), [0]
    for line in (run.folder / "metrics.jsonl").read_text().splitlines():
        steps.append(json.loads(line).get("step", 0))
    whole = measure_bound(reverse, images, steps_per_image=None).scores
    estimates = [measure_bound(reverse, images, steps_per_image=DRAWS, seed=seed).scores for seed in range(SEEDS)]
    return Row(
        parameters=sum(each.numel() for each in run.network.parameters()),
        steps=max(steps),
        bits=float(whole.mean()),
        error=float(whole.std() / len(whole) ** 0.5),
        spread=float(torch.stack(estimates).var(0).mean().sqrt()),
    )


def table(rows: dict[str, Row]) -> str:
    """Return a Markdown table of the rows."""
    lines = [
        f"| model | parameters | steps | bits/dim | standard deviation of an estimate by {DRAWS} values of t |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        bits = f"{row.bits:.4f} +- {row.error:.4f}"
        lines.append(f"| {name} | {row.parameters:,} | {row.steps:,} | {bits} | {row.spread:.4f} |")
    return "\n".join(lines)


def main() -> None:
    """Train what is missing, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--minutes", type=float, default=4, help="processor time of each training")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="NAME")
    parser.add_argument("--images", type=int, default=360, help="test images")
    options = parser.parse_args()
    torch.set_num_threads(1)
    time.monotonic = time.process_time  # what the budget of a training counts
    rows = {}
    for name in options.models:
        preset, overrides = MODELS[name]
        folder = options.out / name.replace(", ", "-").replace(" ", "-")
        nelbo.train("digits", folder, preset=preset, minutes=options.minutes, overrides=overrides, pictures=False)
        rows[name] = measure(load_as(DiffusionRun, folder), load_data("digits").test.subset(range(options.images)))
        print(table(rows), flush=True)
    (options.out / "rows.json").write_text(json.dumps({name: asdict(row) for name, row in rows.items()}, indent=2))


if __name__ == "__main__":
    main()
