"""The sample stage: the best sampler of a model, and its images."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.quality.comparison import FIRST, Comparison
from benchmarks.quality.distances import kernel_distance
from benchmarks.quality.libraries import LIBRARIES
from benchmarks.quality.plan import Job
from benchmarks.samplers import Cell, drawn
from nelbo.errors import ConfigurationError
from nelbo.evaluation import FeatureModule, features_of
from nelbo.files import write_array, write_json
from nelbo.plots import sample_grid, save
from nelbo.runs import DiffusionRun

SAMPLES, ANCESTRAL, RECORD = "samples.npy", "ancestral.npy", "sampler.json"
SHOWN, PART = 64, 32  # images of the grid; images of a part with all steps, which take minutes


@dataclass(frozen=True)
class Drawing:
    """How the images of every model are drawn.

    Attributes:
        num: number of images.
        trial: number of images by which the sampler is chosen.
        candidates: the samplers to choose from.
        ancestral: number of images to draw by the ancestral sampler with all steps, 0 for none.
    """

    num: int
    trial: int
    candidates: Sequence[Cell]
    ancestral: int

    def plain(self) -> dict[str, Any]:
        """Return plain values, by which finished work is recognised."""
        return {**vars(self), "candidates": [asdict(cell) for cell in self.candidates]}


def draw(job: Job, drawing: Drawing, comparison: Comparison) -> None:
    """Draw the images of a trained model, unless they are drawn."""
    place, wanted = job.place, drawing.plain()
    if (place / RECORD).exists() and json.loads((place / RECORD).read_text("utf-8"))["wanted"] == wanted:
        return
    print(f"sampling {job}", flush=True)
    run = LIBRARIES[job.library].load(job, comparison.data)
    trials = tried(run, job, drawing, comparison)
    cell = Cell(**min(trials, key=lambda trial: trial["kernel"])["cell"])
    images, seconds = drawn(run, cell, drawing.num, place / "drawn", precision=job.precision)
    write_array(place / SAMPLES, images.numpy())
    save(sample_grid(images[:SHOWN], comparison.data.levels), place / "grid.png")
    if drawing.ancestral:
        every = Cell("ancestral", run.schedule.num_steps)
        images, _ = drawn(run, every, drawing.ancestral, place / "drawn-in-parts", batch=PART, precision=job.precision)
        write_array(place / ANCESTRAL, images.numpy())
    write_json(
        place / RECORD, {"wanted": wanted, "chosen": asdict(cell), "seconds_per_image": seconds, "trials": trials}
    )


def tried(run: DiffusionRun, job: Job, drawing: Drawing, comparison: Comparison) -> list[Mapping[str, Any]]:
    """Draw a few images with each sampler; return their kernel distances in the features of the first classifier.

    The distance is that from `Comparison.other`, so that the choice does not fit the images of the final comparison.
    """
    candidates = [cell for cell in drawing.candidates if run.recipe.conditional or cell.guidance == 1]
    if not candidates:
        raise ConfigurationError(f"{job} does not know classes; add a sampler without guidance to --samplers.")
    if len(candidates) == 1:
        return [{"cell": asdict(candidates[0]), "kernel": 0.0}]
    features = comparison.classifier(FIRST).features()
    real = features_of(comparison.other, features)
    trials: list[Mapping[str, Any]] = []
    for cell in candidates:
        images, seconds = drawn(run, cell, drawing.trial, job.place / "drawn", precision=job.precision)
        found = _distance(images, real, features)
        trials.append({"cell": asdict(cell), "kernel": found, "seconds_per_image": seconds})
        print(f"{job}: {cell.name}: kernel distance {found:.4f}", flush=True)
    return trials


def _distance(images: Tensor, real: Tensor, features: FeatureModule) -> float:
    return kernel_distance(features_of(images, features), real, resamples=1).value


def samples_of(place: Path, name: str = SAMPLES) -> Tensor:
    """Read the images that `draw` wrote, uint8 (N, C, H, W)."""
    return torch.from_numpy(np.load(place / name))


def chosen_sampler(place: Path) -> Cell:
    """Read which sampler was chosen."""
    return Cell(**json.loads((place / RECORD).read_text("utf-8"))["chosen"])
