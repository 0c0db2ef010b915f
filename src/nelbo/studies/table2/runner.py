"""The computation of Table 2: train each cell, measure its bound, draw samples, measure their Frechet distance."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from nelbo.data import Split
from nelbo.errors import DataError, NelboError, NonFiniteError, RunError, option
from nelbo.evaluation import FeatureModule, frechet_distance, require_torchmetrics
from nelbo.files import alone_in, read_tensors, remove_parts, write_json, write_tensors
from nelbo.paths import check_folder, expanded
from nelbo.progress import StageProgress, no_stages
from nelbo.runs.data_options import DataOptions
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.folder import refuse_changes
from nelbo.studies.data_request import DataRequest
from nelbo.studies.features import features_for, knows
from nelbo.studies.listener import Listener
from nelbo.studies.run_data import described, read_split
from nelbo.studies.run_features import own_features
from nelbo.studies.table2.cells import Cell, GridOptions, table2_cells
from nelbo.studies.table2.records import CellRecord, Table2
from nelbo.studies.training import train
from nelbo.training import METRICS_FILE, MetricsLog

GRID_FILE, CELL_FILE, DRAWN_FILE, CELLS_FOLDER = "grid.json", "cell.json", "drawn.safetensors", "cells"
VALUES_OF_T = 32  # evaluated per held-out image


@dataclass
class GridListener:
    """Callbacks of a grid; each is optional.

    Attributes:
        on_begin: called with the images and features of the Frechet distances, in words, or why there are none.
        on_cell: called with (cell, cells done, cells in total) as a cell begins.
        on_record: called with the result of each cell, including those of earlier sessions.
        on_stage: called with (stage, done, total) within a cell.
    """

    on_begin: Callable[[str], None] = lambda against: None
    on_cell: Callable[[Cell, int, int], None] = lambda cell, done, total: None
    on_record: Callable[[CellRecord], None] = lambda record: None
    on_stage: StageProgress = no_stages


def run_table2(out: str | os.PathLike[str], options: GridOptions, listener: GridListener | None = None) -> Table2:
    """Train and measure the 24 cells, each in an ordinary run folder in `out`/cells, or resume the grid in `out`.

    A cell whose training fails is recorded as unstable, and the grid continues. A stop signal during training stops
    the grid; calling this function again resumes it. It also measures Frechet distances that are missing or were
    measured with other features, from the saved samples.

    Raises:
        RunError: `out` holds something else, or a grid of other settings.
        NelboError: data that cannot be read, settings that do not exist, and others.
    """
    listener, folder = listener or GridListener(), expanded(out)
    check_folder(folder)
    request = DataRequest(options.data, options.size)
    split = read_split(request, workers=None, seed=options.seed, listener=Listener(on_stage=listener.on_stage))
    split.require_test()
    settings = {**options.to_json(), "names": split.names}
    _refuse_other_grid(folder, settings)
    choose = partial(Frechet.of, options, described(request, split), split, folder, listener.on_stage)
    named = None if options.features is None else choose()  # features that do not exist leave no folder
    records: list[CellRecord] = []
    stopped: str | None = None
    with alone_in(folder):
        remove_parts(folder)
        write_json(folder / GRID_FILE, settings)
        frechet = named or choose()
        listener.on_begin(frechet.against)
        cells = table2_cells()
        for done, cell in enumerate(cells):
            listener.on_cell(cell, done, len(cells))
            work = CellRun(folder / CELLS_FOLDER / cell.name, cell, options, split, frechet, listener.on_stage)
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
    """The Frechet distance of a cell's samples from the held-out images, if there are features to measure it with.

    Attributes:
        against: the held-out images and the features, in words, or why there is no distance.
        features: None if there is no distance.
        split: the images.
        seed: random seed of the bootstrap.
    """

    against: str
    features: FeatureModule | None
    split: Split
    seed: int

    @classmethod
    def of(
        cls, options: GridOptions, data: DataOptions, split: Split, folder: Path, on_stage: StageProgress
    ) -> "Frechet":
        """Choose the features for the images of a grid in `folder`.

        Raises:
            NelboError: the distance cannot be measured with the features that the options name.
        """
        try:
            require_torchmetrics()
            if len(split.test) < 2:
                raise DataError("a single held-out image has no covariance")
            if options.features is None and not knows(data):
                features = own_features(data, split, folder, listener=Listener(on_stage=on_stage))
            else:
                features = features_for(data, options.features)
        except NelboError as error:
            if options.features is not None:
                raise
            return cls(f"no Frechet distance: {str(error).rstrip('.')}", None, split, options.seed)
        against = f"against {len(split.test)} held-out images, through {features.name}"
        return cls(against, features, split, options.seed)

    def of_record(self, record: CellRecord, drawn: Path, on_stage: StageProgress) -> CellRecord:
        """Return the record with the distance of the samples in `drawn`.

        The record stays as it is if it already holds a distance through these features, or if there are no samples.
        """
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
class CellRun:
    """The work of one cell, from training to its record."""

    folder: Path
    cell: Cell
    options: GridOptions
    split: Split
    frechet: Frechet
    on_stage: StageProgress
    stopped_by: str | None = None

    def record(self) -> CellRecord | None:
        """Return the result of the cell, of this session or an earlier one; None if a signal stopped its training."""
        path = self.folder / CELL_FILE
        record = CellRecord.read(path) if path.exists() else self._measured()
        if record is None:
            return None
        write_json(path, record.to_json())
        record = self.frechet.of_record(record, self.folder / DRAWN_FILE, self.on_stage)
        write_json(path, record.to_json())
        return record

    def _measured(self) -> CellRecord | None:
        """Train, evaluate the bound on the held-out images, and draw samples; None if a signal stopped the training."""
        try:
            run = self._trained()
        except NonFiniteError as error:
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
            sampler="ancestral",
            steps=min(self.options.sampling_steps, run.schedule.num_steps),
            variance="trained",
            seed=self.options.seed,
            batch_size=250,
            progress=lambda done, total: self.on_stage("sampling", done, total),
        )
        write_tensors(self.folder / DRAWN_FILE, {"images": images}, {})
        most = math.log2(run.levels)
        above = f"its {report.total:.4g} bits/dim are more than the {most:.2f} of a uniform over {run.levels} levels"
        return self._outcome(above if report.total > most else None, report.total, report.standard_error)

    def _trained(self) -> DiffusionRun:
        def stopped(name: str, step: int) -> None:
            self.stopped_by = name

        listener = Listener(
            on_step=lambda step: self.on_stage("training", round(1000 * step.fraction), 1000),
            on_stage=self.on_stage,
            on_stop=stopped,
        )
        run = train(
            DataRequest(self.options.data, self.options.size),
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


def _refuse_other_grid(folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that the folder is empty or holds an earlier part of this grid.

    Raises:
        RunError: it holds something else or a grid of other settings.
    """
    path = folder / GRID_FILE
    if path.is_file():
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RunError(f"{path} cannot be read ({error}); set {option('out')} to another folder.") from error
        unknown = {"names"} - before.keys()  # grids of before 0.2.0 do not store them
        refuse_changes(folder, "a grid", before, settings, {"nelbo", "features"} | unknown, _in_words)
    elif folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        raise RunError(
            f"{folder} is not empty and holds no grid ({GRID_FILE} is missing); set {option('out')} to another folder."
        )


def _in_words(name: str) -> str:
    return f"names of the image files in {option('data')}" if name == "names" else name


def drawn_samples(out: str | os.PathLike[str]) -> Iterator[tuple[Cell, Tensor]]:
    """Yield each cell that has samples, with the samples: uint8 (N, C, H, W)."""
    for cell in table2_cells():
        path = expanded(out) / CELLS_FOLDER / cell.name / DRAWN_FILE
        if path.exists():
            yield cell, read_tensors(path)[0]["images"]
