"""Table 2 of the paper for any images: what the network predicts, against what it is trained on, a small run each."""

import json
import math
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from nelbo.data import Split, absolute_spec, load_data
from nelbo.errors import ConfigurationError, DataError, NelboError, NonFiniteError, RunError
from nelbo.evaluation import FeatureModule, frechet_distance, require_torchmetrics
from nelbo.files import alone_in, read_tensors, remove_parts, write_json, write_tensors
from nelbo.recipes import presets
from nelbo.recipes.recipe import Recipe
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.folder import DataOptions, refuse_changes
from nelbo.studies.features import features_for
from nelbo.studies.training import DataRequest, Listener, described, train
from nelbo.training import METRICS_FILE, MetricsLog

GRID_FILE, CELL_FILE, DRAWN_FILE, CELLS_FOLDER = "grid.json", "cell.json", "drawn.safetensors", "cells"
PREDICTIONS = {"mean": "mean", "noise": "noise", "data": "x_0", "velocity": "velocity"}  # by the recipe's word for it
OBJECTIVES = (
    ("variational", "fixed-large"),
    ("variational", "fixed-small"),
    ("variational", "learned-range"),
    ("simple", "fixed-large"),
    ("simple", "fixed-small"),
    ("hybrid", "learned-range"),
)
LOSSES = {"variational": "L", "simple": "simple", "hybrid": "hybrid"}
# What all cells share besides their preset: the chain and the distribution of t are the paper's.
SHARED: dict[str, Any] = {
    "schedule.kind": "linear",
    "schedule.num_steps": 1000,
    "schedule.beta_1": 1e-4,
    "schedule.beta_T": 0.02,
    "timesteps": "uniform",
    "training.compile": False,
}
# So that a minute on 2 cores is some two thousand steps.
SMALLER = {"digits": {"network.base": 24, "network.groups": 8, "network.blocks": 1}}
OWN = ("parameterization", "loss", "variance", "min_snr")
BY_FLAG = {"training.steps": "--steps", "training.minutes": "--minutes", "training.seed": "--seed"}
VALUES_OF_T = 32  # for each held-out image
Stage = Callable[[str, int, int], None]  # (name, done, total)


@dataclass(frozen=True)
class Cell:
    """A place in the table: `parameterization`, `loss` and `variance` as recipes name them."""

    parameterization: str
    loss: str
    variance: str

    @property
    def name(self) -> str:
        """Of its run folder, such as "noise-simple-fixed-large"."""
        return f"{self.parameterization}-{self.loss}-{self.variance}"


def table2_cells() -> list[Cell]:
    """The 24 places, row by row: L under each variance, L_simple under the two fixed ones, the hybrid under the third.

    L_simple cannot train a variance, and the hybrid is L_simple plus what trains one.
    """
    return [Cell(prediction, loss, variance) for prediction in PREDICTIONS for loss, variance in OBJECTIVES]


@dataclass(frozen=True)
class GridOptions:
    """What all cells have in common.

    Attributes:
        data: a name or path of images.
        preset: the recipe that lends its network and its training; the data's own if None.
        minutes, steps: the budget of each cell; one of them.
        seed: of everything that is drawn.
        num_images: samples for the Frechet distance.
        sampling_steps: ancestral steps of each sample, an even stride of the chain; xhat_0 is clipped to [-1, 1].
        features: a file with the network that the Frechet distance looks through; that of the data if None.
        overrides: other settings of the recipe, by dotted name.
    """

    data: str
    preset: str | None = None
    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    num_images: int = 1000
    sampling_steps: int = 250
    features: str | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ConfigurationError("each cell needs a budget of one kind: give --minutes or --steps.")
        for flag, value in (("--num-images", self.num_images), ("--sampling-steps", self.sampling_steps)):
            if value < 2:
                raise ConfigurationError(f"{flag} must be at least 2, got {value}.")
        for name in self.overrides:
            if name in OWN:
                raise ConfigurationError(f"--set {name} is what the cells of the table differ in; leave it out.")
            if name in BY_FLAG:
                raise ConfigurationError(f"give {BY_FLAG[name]} instead of --set {name}.")
        if not isinstance(self._preset, Recipe) or self.data.startswith("toy:"):
            raise ConfigurationError("Table 2 compares diffusion models of images; give --data that, such as digits.")

    @property
    def _preset(self) -> Any:
        return presets.preset(self.preset or presets.default_preset(self.data))

    def settings(self, cell: Cell) -> dict[str, Any]:
        """The overrides that make a cell's run of the preset."""
        smaller = {} if self.preset else SMALLER.get(self.data, {})
        budget = {"training.minutes": self.minutes, "training.steps": self.steps, "training.seed": self.seed}
        return {**SHARED, **smaller, **self.overrides, **budget, **asdict(cell)}

    def recipe(self, cell: Cell) -> Recipe:
        """A cell's recipe, as it is before it meets the data."""
        recipe: Recipe = self._preset.with_overrides(self.settings(cell))
        return recipe

    def command(self, out: str | os.PathLike[str]) -> str:
        """The command line that makes this grid."""
        parts: list[object] = ["nelbo", "table2", "--data", self.data, "--out", out]
        for flag, value in (("--preset", self.preset), ("--minutes", self.minutes), ("--steps", self.steps)):
            parts += [] if value is None else [flag, value]
        parts += ["--seed", self.seed, "--num-images", self.num_images, "--sampling-steps", self.sampling_steps]
        parts += [] if self.features is None else ["--features", self.features]
        for name, value in self.overrides.items():
            parts += ["--set", f"{name}={json.dumps(value)}"]
        return shlex.join(map(str, parts))

    def to_json(self) -> dict[str, Any]:
        """What `grid.json` holds: the options, and the recipe of the first cell, which tells the rest."""
        plain = asdict(self) | {"data": absolute_spec(self.data)}
        return {"nelbo": version("nelbo"), **plain, "recipe": self.recipe(table2_cells()[0]).to_json()}


@dataclass(frozen=True)
class CellRecord:
    """What became of a cell: `cell.json` in its run folder.

    Attributes:
        unstable: why its training counts as failed, or None: a number that was not finite, or a bound above that of a
            uniform distribution over the levels, which knows nothing.
        steps, minutes: of training.
        bits_per_dim, standard_error: the bound on the held-out images under the variance it was trained with, or None
            where there is no finite one.
        frechet: what is known of the Frechet distance of its samples, or None.
    """

    cell: Cell
    unstable: str | None
    steps: int
    minutes: float
    bits_per_dim: float | None
    standard_error: float | None
    frechet: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        plain = asdict(self)
        return {"name": self.cell.name, **plain.pop("cell"), **plain}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "CellRecord":
        """The inverse of `to_json`."""
        cell = Cell(plain["parameterization"], plain["loss"], plain["variance"])
        rest = {key: value for key, value in plain.items() if key not in ("name", *asdict(cell))}
        return cls(cell, **rest)


@dataclass(frozen=True)
class Table2:
    """The grid as far as it has come.

    Attributes:
        records: one a finished cell, in the order of `table2_cells`.
        stopped_by: the signal that ended it before its time, or None.
        levels: K.
        num_train, num_held_out: images.
        frechet_against: what the samples were compared with, in words, or why they weren't.
    """

    options: GridOptions
    records: list[CellRecord]
    stopped_by: str | None
    levels: int
    num_train: int
    num_held_out: int
    frechet_against: str

    @property
    def by_cell(self) -> dict[Cell, CellRecord]:
        """The records by their places."""
        return {record.cell: record for record in self.records}

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            **self.options.to_json(),
            "levels": self.levels,
            "uniform_bits_per_dim": math.log2(self.levels),
            "num_train": self.num_train,
            "num_held_out": self.num_held_out,
            "frechet_against": self.frechet_against,
            "cells": [record.to_json() for record in self.records],
        }


@dataclass
class GridListener:
    """What the caller wants to hear of.

    Attributes:
        on_begin: what the samples will be compared with, in words, or why they won't be.
        on_cell: (cell, cells done, cells in all) as a cell begins.
        on_record: each cell's outcome, those of earlier sessions too.
        on_stage: (name, done, total) within a cell.
    """

    on_begin: Callable[[str], None] = lambda against: None
    on_cell: Callable[[Cell, int, int], None] = lambda cell, done, total: None
    on_record: Callable[[CellRecord], None] = lambda record: None
    on_stage: Stage = lambda name, done, total: None


def run_table2(out: str | os.PathLike[str], options: GridOptions, listener: GridListener | None = None) -> Table2:
    """Train and measure the 24 cells, or those that are left: an ordinary run folder each, in `out`/cells.

    A cell whose training fails is recorded as unstable and the grid goes on. SIGINT and SIGTERM during training end it;
    the same call goes on from there. A distance that could not be measured, or was through other features, is measured
    then from the samples that were kept.

    Raises:
        RunError: `out` holds something else, or a grid of other settings.
        NelboError: of other kinds: data that cannot be read, settings that do not exist.
    """
    listener, folder = listener or GridListener(), Path(out)
    request = DataRequest(options.data)
    split = load_data(options.data, seed=options.seed)
    split.require_test()
    settings = options.to_json()
    _refuse_other_grid(folder, settings)
    frechet = Frechet.of(options, described(request, split), split)
    listener.on_begin(frechet.against)
    records: list[CellRecord] = []
    stopped: str | None = None
    with alone_in(folder):
        remove_parts(folder)
        write_json(folder / GRID_FILE, settings)
        cells = table2_cells()
        for done, cell in enumerate(cells):
            listener.on_cell(cell, done, len(cells))
            work = _Work(folder / CELLS_FOLDER / cell.name, cell, options, split, frechet, listener.on_stage)
            record = work.record()
            if record is None:
                stopped = work.stopped_by
                break
            records.append(record)
            listener.on_record(record)
    train_part, test = split.train, split.test
    return Table2(options, records, stopped, train_part.levels, len(train_part), len(test), frechet.against)


@dataclass(frozen=True)
class Frechet:
    """The distance of samples from the held-out images, where there are features to measure it in.

    Attributes:
        against: the features and the images compared with, or why there is no distance.
        features: None where there are none.
    """

    against: str
    features: FeatureModule | None
    split: Split
    seed: int

    @classmethod
    def of(cls, options: GridOptions, data: DataOptions, split: Split) -> "Frechet":
        """For the images of a grid.

        Raises:
            NelboError: there is no distance through the features that were asked for.
        """
        try:
            require_torchmetrics()
            if len(split.test) < 2:
                raise DataError("a single held-out image has no covariance")
            features = features_for(data, options.features)
        except NelboError as error:
            if options.features is not None:  # asked for
                raise
            return cls(f"no Frechet distance: {str(error).rstrip('.')}", None, split, options.seed)
        against = f"against {len(split.test)} held-out images, through {features.name}"
        return cls(against, features, split, options.seed)

    def of_record(self, record: "CellRecord", drawn: Path, on_stage: Stage) -> "CellRecord":
        """The record with the distance of the samples in `drawn`, unless it has this very one or there are none."""
        known = (record.frechet or {}).get("features")
        if self.features is None or known == self.features.name or not drawn.exists():
            return record
        report = frechet_distance(
            read_tensors(drawn)[0]["images"],
            self.split.test,
            self.features,
            split=f"held-out images of {self.split.test.name}",
            seed=self.seed,
            progress=on_stage,
        )
        return replace(record, frechet=report.to_json())


@dataclass
class _Work:
    """One cell from training to its record."""

    folder: Path
    cell: Cell
    options: GridOptions
    split: Split
    frechet: Frechet
    on_stage: Stage
    stopped_by: str | None = None

    def record(self) -> CellRecord | None:
        """What became of the cell, now or in an earlier session; None if a signal ended its training."""
        path = self.folder / CELL_FILE
        record = _read_record(path) if path.exists() else self._made()
        if record is None:
            return None
        write_json(path, record.to_json())
        record = self.frechet.of_record(record, self.folder / DRAWN_FILE, self.on_stage)
        write_json(path, record.to_json())
        return record

    def _made(self) -> CellRecord | None:
        """Train, judge by the held-out images, and draw samples."""
        try:
            run = self._trained()
        except (NonFiniteError, DataError) as error:  # the data itself was read before: this is what cannot be drawn
            return self._outcome(str(error).partition(";")[0])
        if self.stopped_by is not None:
            return None
        report = run.bound(
            self.split.test,
            variance="trained",
            steps_per_image=VALUES_OF_T,
            seed=self.options.seed,
            progress=lambda done, total: self.on_stage("scoring", done, total),
        )
        if not math.isfinite(report.total):
            return self._outcome("its bound is not finite")
        images = run.sample(
            self.options.num_images,
            steps=min(self.options.sampling_steps, run.schedule.num_steps),
            variance="trained",
            seed=self.options.seed,
            batch_size=250,
            progress=lambda done, total: self.on_stage("sampling", done, total),
        )
        write_tensors(self.folder / DRAWN_FILE, {"images": images}, {})
        most = math.log2(run.levels)
        blind = f"its {report.total:.4g} bits/dim are more than the {most:.2f} of a uniform over {run.levels} levels"
        return self._outcome(blind if report.total > most else None, report.total, report.standard_error)

    def _trained(self) -> DiffusionRun:
        def stopped(name: str, step: int) -> None:
            self.stopped_by = name

        listener = Listener(
            on_step=lambda progress: self.on_stage("training", round(1000 * progress.fraction), 1000),
            on_stage=self.on_stage,
            on_stop=stopped,
        )
        run = train(
            DataRequest(self.options.data),
            self.folder,
            preset=self.options.preset,
            overrides=self.options.settings(self.cell),
            listener=listener,
        )
        assert isinstance(run, DiffusionRun)
        return run

    def _outcome(self, unstable: str | None, bits: float | None = None, error: float | None = None) -> CellRecord:
        last = (MetricsLog(self.folder / METRICS_FILE).records() or [{}])[-1]
        known = None if error is None or math.isnan(error) else error
        return CellRecord(self.cell, unstable, last.get("step", 0), last.get("minutes", 0.0), bits, known)


def _read_record(path: Path) -> CellRecord:
    try:
        return CellRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} cannot be read ({error}); remove it, and the cell is measured again.") from error


def _refuse_other_grid(folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that the folder is empty, or holds the beginning of this very grid."""
    path = folder / GRID_FILE
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} cannot be read ({error}); choose another folder by --out.") from error
        refuse_changes(folder, "a grid", before, settings, {"nelbo", "features"})
    elif folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; --out needs a folder.")
    elif folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunError(f"{folder} is not empty and holds no grid ({GRID_FILE} is missing); choose another --out.")


def drawn_samples(out: str | os.PathLike[str]) -> Iterator[tuple[Cell, Tensor]]:
    """The uint8 samples (N, C, H, W) of each cell that has some."""
    for cell in table2_cells():
        path = Path(out) / CELLS_FOLDER / cell.name / DRAWN_FILE
        if path.exists():
            yield cell, read_tensors(path)[0]["images"]
