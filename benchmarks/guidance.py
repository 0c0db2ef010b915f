"""Classifier-free guidance: how often a classifier recognises the requested class, by guidance scale.

    python -m benchmarks.guidance RUN [--num 500] [--steps 20] [--out benchmarks/guidance]

RUN is a class-conditional model of digits or fashion-mnist, for which nelbo bundles classifiers:

    nelbo train --data digits --conditional --out runs/by-class --minutes 4

The samples cycle through the classes, and every scale starts from the same noise. The Frechet distance from the
held-out images is measured as well: strong guidance makes it larger.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import nelbo
from nelbo.evaluation import frechet_distance
from nelbo.plots import sample_grid, save
from nelbo.runs import DiffusionRun, load_as
from nelbo.studies import bundled_classifiers, features_for, held_out_part, load_classifier

SCALES = (0.0, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)


@dataclass(frozen=True)
class Row:
    """The results at one guidance scale."""

    scale: float
    accuracy: float
    error: float
    distance: float
    low: float
    high: float


def main() -> None:
    """Measure, print, and write the table and one grid per scale, with one column per class."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guidance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run")
    parser.add_argument("--num", type=int, default=500)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--sampler", default="dpm-solver++")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/guidance"))
    options = parser.parse_args()
    run = load_as(DiffusionRun, options.run)
    classifier = load_classifier(bundled_classifiers()[run.config.data.spec])
    classes = len(run.config.data.class_names)
    features, reference = features_for(run.config.data, None, device=None), held_out_part(run)
    label, rows = torch.arange(options.num) % classes, []
    for scale in SCALES:
        images = run.sample(
            options.num,
            sampler=options.sampler,
            steps=options.steps,
            spacing="even",
            label=label,
            guidance=scale,
            guidance_interval=(0.0, 1.0),
            batch_size=125,
        )
        right = (classifier.classify(images) == label).double()
        found = frechet_distance(images, reference, features, split="held-out images", seed=0)
        accuracy = float(right.mean())
        error = (accuracy * (1 - accuracy) / options.num) ** 0.5
        rows.append(Row(scale, accuracy, error, found.distance, found.low, found.high))
        save(sample_grid(images[: 4 * classes], run.levels, columns=classes), options.out / f"scale-{scale:g}.png")
        print(rows[-1], flush=True)
    lines = ["| scale | accuracy | Frechet distance | interval |", "|---|---|---|---|"]
    lines += [
        f"| {row.scale:g} | {row.accuracy:.1%} +- {row.error:.1%} | {row.distance:.2f} | {row.low:.2f} to "
        f"{row.high:.2f} |"
        for row in rows
    ]
    (options.out / "guidance.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    record = {"version": nelbo.__version__, "rows": [asdict(row) for row in rows], **vars(options)}
    (options.out / "guidance.json").write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
