"""The work around the optimizer steps of a training run: previews, saved weights, calibration and pictures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nelbo.data import ImageDataset, Split
from nelbo.files import or_warn, read_metadata
from nelbo.plots import bound_curve, loss_curve, picture_of, save
from nelbo.runs.codec_plan import mark_stale, warn_of_plan
from nelbo.runs.folder import RunConfig
from nelbo.runs.loading import load, run_of
from nelbo.runs.run import Run, holds_weights, save_model
from nelbo.studies.listener import Listener
from nelbo.studies.pictures import show_run
from nelbo.training import METRICS_FILE, STATE_FILE, MetricsLog, TrainerOptions
from nelbo.training.budget import spent_by

PREVIEW_IMAGES, HELD_OUT_IMAGES = 16, 128
BOUND, CHAIN = "held_out_bits_per_dim", "held_out_chain_bits_per_dim"


@dataclass
class Session:
    """The callbacks of one training session, and the work after its last step.

    Attributes:
        pictures: whether to draw the finished model.
        first_step: the step that this session resumed at.
        learned: what the objective has learned so far that the model needs beside its weights.
    """

    folder: Path
    config: RunConfig
    split: Split
    listener: Listener
    pictures: bool = True
    first_step: int = 0
    learned: Callable[[], dict[str, Tensor]] = dict

    def begin(self, first_step: int, spent: Sequence[str]) -> None:
        """Report the configuration before the first step.

        Args:
            first_step: the step that training resumes at.
            spent: the options of the network's budget, "steps" or "minutes", of which nothing is left.
        """
        self.first_step = first_step
        self.config.save(self.folder)
        self.listener.on_config(self.config, self.split, first_step)
        if spent:
            self.listener.on_spent(self.config, spent)
        else:
            warn_of_plan(self.folder)

    def begin_stored(self, training: TrainerOptions) -> None:
        """Call `begin` with the step and the clock of the stored state, before the network is built."""
        path = self.folder / STATE_FILE
        state: dict[str, Any] = {"step": 0, "seconds": 0.0, **(read_metadata(path) if path.is_file() else {})}
        self.begin(state["step"], spent_by(training, state["step"], state["seconds"]))

    def preview(self, network: nn.Module, step: int) -> dict[str, Any]:
        """Draw a few images and estimate the held-out bound; return values for the metrics."""
        try:
            return self._preview(run_of(self.folder, self.config, network, self.learned()), step)
        finally:
            network.train()
            network.requires_grad_(True)

    def _preview(self, run: Run, step: int) -> dict[str, Any]:
        images = run.draft(PREVIEW_IMAGES, self.config.recipe.training.seed, self._held_out(PREVIEW_IMAGES))
        with or_warn():
            save(picture_of(images, run.levels), self.folder / "samples" / f"step-{step:08d}.png")
        held_out = self._held_out(HELD_OUT_IMAGES)
        record = {} if held_out is None else run.glance(held_out)
        self.draw_curves()
        self.listener.on_record({"step": step, **record})
        return record

    def save(self, network: nn.Module, step: int) -> None:
        """Save the averaged weights beside the state, so that the folder can be used during training.

        Weights that the folder holds already stay there, with the calibration and the decoder that belong to them.
        """
        if step == self.first_step and holds_weights(self.folder, network):
            return
        mark_stale(self.folder)
        save_model(self.folder, network, self.learned())

    def prepare(self, step: int) -> None:
        """Calibrate the model after its last step, unless that was done in an earlier session."""
        stage, seen = self.listener.on_stage, step * self.config.recipe.training.batch_size
        load(self.folder).prepare(
            self.split.train.at_random(), seen, lambda done, total: stage("calibrating", done, total)
        )

    def finish(self, stopped_by: str | None) -> None:
        """Draw the curves and, unless a signal stopped training, the pictures that are older than the model."""
        if stopped_by is None:
            run = load(self.folder)
            if self.pictures:
                show_run(run, self._held_out(4 * HELD_OUT_IMAGES), self.listener.on_stage, again=False)
            self._report(run)
        self.draw_curves()

    def _report(self, run: Run) -> None:
        """Report the held-out bound of a finished run; log it if the previews could show the chain only."""
        records, held_out = self._records(), self._held_out(HELD_OUT_IMAGES)
        if held_out is None:
            return
        last = max((record["step"] for record in records), default=0)
        record = {"step": last, **run.glance(held_out)}
        of_last = [each for each in records if each["step"] == last]
        if any(CHAIN in each for each in records) and not any(BOUND in each for each in of_last):
            with or_warn():
                MetricsLog(self.folder / METRICS_FILE).append(record)
        self.listener.on_finish(record)

    def draw_curves(self) -> None:
        """Draw the loss and the held-out bound so far, if they have finite values."""
        records = self._records()
        losses, bounds = _finite(records, "loss"), _finite(records, CHAIN) or _finite(records, BOUND)
        with or_warn():
            if losses:
                save(loss_curve(losses), self.folder / "loss.png")
            if bounds:
                save(bound_curve(bounds), self.folder / "bound.png")

    def _records(self) -> list[dict[str, Any]]:
        return MetricsLog(self.folder / METRICS_FILE).records()

    def _held_out(self, most: int) -> ImageDataset | None:
        return self.split.test.spread(most) if len(self.split.test) else None


def _finite(records: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return the records with a finite value of `key`."""
    return [record for record in records if record.get(key) is not None and math.isfinite(record[key])]
