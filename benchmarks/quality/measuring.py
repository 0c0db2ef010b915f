"""The measure stage: the figures of a set of images in the features of a classifier."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.quality.comparison import Comparison
from benchmarks.quality.distances import NEIGHBOURS, Interval, density_and_coverage, kernel_distance
from benchmarks.quality.drawing import ANCESTRAL, RECORD, samples_of
from benchmarks.quality.memorisation import nearest, neighbours_picture
from benchmarks.quality.plan import Job
from nelbo.evaluation import features_of, frechet_distance
from nelbo.files import write_json
from nelbo.plots import save
from nelbo.probability import levels_to_data
from nelbo.studies import TrainedClassifier

COMPARED = 64  # samples that are compared with the training images
FLOOR = "floor"


@dataclass(frozen=True)
class Figures:
    """The figures of a set of images.

    Attributes:
        num: number of images, and of reference images.
        frechet: Frechet distance.
        frechet_bias: how much the finite number of images raises it.
        kernel: kernel distance.
        density, coverage: by balls around the reference images.
        sure: share of the images whose most likely class has at least the probability `threshold`.
        ancestral: kernel distance of `num_ancestral` images of the ancestral sampler with all steps, or None. For real
            images, that of as many of them.
        nearest: fields of `Nearest`.
    """

    num: int
    frechet: Interval
    frechet_bias: float
    kernel: Interval
    density: float
    coverage: float
    sure: float
    threshold: float
    ancestral: Interval | None
    num_ancestral: int
    nearest: Mapping[str, float]


@torch.no_grad()
def share_sure(trained: TrainedClassifier, images: Tensor, threshold: float, batch_size: int = 500) -> float:
    """Return the share of uint8 images (N, C, H, W) of which the classifier is sure."""
    sure = 0
    for some in images.split(batch_size):
        likely = trained.network(levels_to_data(some, trained.card.levels)).softmax(1).amax(1)
        sure += int((likely >= threshold).sum())
    return sure / len(images)


def figures(
    images: Tensor, ancestral: Tensor | None, comparison: Comparison, trained: TrainedClassifier, threshold: float
) -> Figures:
    """Measure images, uint8 (N, C, H, W), against the reference images."""
    features, reference = trained.features(), comparison.reference
    report = frechet_distance(images, reference, features, split="held-out images")
    ours, theirs = (features_of(each, features) for each in (images, reference))
    density, coverage = density_and_coverage(ours, theirs, min(NEIGHBOURS, len(reference) - 1))
    every = None if ancestral is None else kernel_distance(features_of(ancestral, features), theirs)
    return Figures(
        num=len(images),
        frechet=Interval(report.distance, report.low, report.high),
        frechet_bias=report.bias,
        kernel=kernel_distance(ours, theirs),
        density=density,
        coverage=coverage,
        sure=share_sure(trained, images, threshold),
        threshold=threshold,
        ancestral=every,
        num_ancestral=0 if ancestral is None else len(ancestral),
        nearest=asdict(nearest(images[:COMPARED], comparison.split.train, reference)),
    )


def measure(job: Job, which: str, comparison: Comparison, threshold: float) -> None:
    """Write the figures of a model's images to `first.json` or `second.json`, unless they are there."""
    place = job.place
    inputs = {"drawn": json.loads((place / RECORD).read_text("utf-8")), "threshold": threshold}
    if _is_done(place / f"{which}.json", inputs):
        return
    images = samples_of(place)
    ancestral = samples_of(place, ANCESTRAL) if inputs["drawn"]["wanted"]["ancestral"] else None
    print(f"measuring {job}", flush=True)
    found = figures(images, ancestral, comparison, comparison.classifier(which), threshold)
    save(neighbours_picture(images, comparison.split.train), place / "neighbours.png")
    write_json(place / f"{which}.json", {"inputs": inputs, **asdict(found)})


def measure_floor(which: str, comparison: Comparison, num_ancestral: int, threshold: float) -> None:
    """Write the figures of the other held-out images to `floor-first.json` or `floor-second.json`."""
    place = comparison.out / f"{FLOOR}-{which}.json"
    inputs = {"num": len(comparison.other), "ancestral": num_ancestral, "threshold": threshold}
    if _is_done(place, inputs):
        return
    few = comparison.other[:num_ancestral] if num_ancestral else None
    found = figures(comparison.other, few, comparison, comparison.classifier(which), threshold)
    write_json(place, {"inputs": inputs, **asdict(found)})


def read_figures(path: Path) -> Figures | None:
    """Read the figures that were written, or None if there are none."""
    if not path.exists():
        return None
    plain: dict[str, Any] = json.loads(path.read_text("utf-8"))
    del plain["inputs"]
    for name in ("frechet", "kernel", "ancestral"):
        plain[name] = plain[name] and Interval(**plain[name])
    return Figures(**plain)


def _is_done(path: Path, inputs: Mapping[str, Any]) -> bool:
    return path.exists() and json.loads(path.read_text("utf-8"))["inputs"] == inputs
