"""The second stage of a training run: the pixel network of the decoder p(x_0|x_1), once the network is finished."""

import contextlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from nelbo.data import ImageDataset
from nelbo.diffusion import PixelObjective
from nelbo.files import read_metadata, write_json
from nelbo.networks import PixelNetwork, PixelOptions
from nelbo.randomness import INITIALISATION, derived_seed
from nelbo.recipes.assembly import build_pixel_options
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.studies.decoder_examples import gather_examples, most_examples
from nelbo.studies.listener import Listener
from nelbo.training import METRICS_FILE, STATE_FILE, Processes, Trainer, TrainerOptions, is_first_process
from nelbo.training.budget import spent_by

FOLDER, OWNER = "decoder", "network.json"
GATHERING = 0.2  # share of the decoder's minutes in which its examples are gathered


def train_decoder(run: DiffusionRun, images: ImageDataset, network_step: int, listener: Listener) -> str | None:
    """Train the decoder of a run whose network is finished, or resume that, and write it into the run folder.

    A decoder that is finished stays as it is.

    Args:
        run: calibrated.
        images: training images.
        network_step: optimizer steps of the network; training on invalidates an earlier decoder.
        listener: receives the progress.

    Returns:
        The name of the signal that stopped it, or None.
    """
    options = build_pixel_options(run.recipe, run.shape[0], run.levels)
    if options is None:
        return None
    folder = run.folder / FOLDER
    if run.pixels is not None and _is_finished(folder, run.recipe.decoder_training, network_step):
        return None
    plan = _plan(folder, run, options, network_step)
    Processes.here().meet()
    began = time.monotonic()
    examples = gather_examples(
        run,
        options,
        images,
        plan.num,
        seconds=plan.seconds,
        progress=lambda done, total: listener.on_stage("predicting for the decoder", done, total),
    )
    if isinstance(examples, str):
        return examples
    plan = plan.gathered(len(examples), time.monotonic() - began)
    if is_first_process():
        plan.save(folder)
    torch.manual_seed(derived_seed(run.recipe.training.seed, INITIALISATION, 1))

    def keep(network: nn.Module, step: int) -> None:
        run.pixels = cast(PixelNetwork, network)

    trainer = Trainer(
        PixelNetwork(options),
        PixelObjective(options),
        examples,
        plan.shortened(run.recipe.decoder_training),
        folder,
        on_save=keep,
        on_progress=lambda step: listener.on_stage("training the decoder", int(1000 * step.fraction), 1000),
    )
    trainer.run()
    if trainer.stopped_by is None and run.pixels is not None:  # one process saves
        run.pixels = run.pixels.eval().requires_grad_(False)
        run.pixels.round_weights()
        run.save()
    return trainer.stopped_by


@dataclass(frozen=True)
class _Plan:
    """How many examples the decoder of a network is trained on; stored so that a resumed run gathers the same ones.

    Attributes:
        step: optimizer steps of the network.
        num: number of examples, the largest one until they are gathered.
        seconds: time for gathering them, None for any.
        spent: seconds that gathering took, part of the budget; None before.
    """

    step: int
    num: int
    seconds: float | None
    spent: float | None = None

    def gathered(self, num: int, spent: float) -> "_Plan":
        """Return the plan by which a resumed run gathers the same examples; the first time counts."""
        return _Plan(self.step, num, None, spent if self.spent is None else self.spent)

    def shortened(self, training: TrainerOptions) -> TrainerOptions:
        """Return the options without the minutes that gathering took."""
        if training.minutes is None or self.spent is None:
            return training
        return replace(training, minutes=max(training.minutes - self.spent / 60, training.minutes / 2))

    @classmethod
    def read(cls, folder: Path) -> "_Plan | None":
        """Return the plan in a folder, or None."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return cls(**json.loads((folder / OWNER).read_text(encoding="utf-8")))
        return None

    def save(self, folder: Path) -> None:
        write_json(folder / OWNER, asdict(self))


def _is_finished(folder: Path, training: TrainerOptions, network_step: int) -> bool:
    """Return whether the decoder of a run belongs to the network of this step and has spent its budget.

    A decoder without its training state cannot be trained further, and is finished.
    """
    plan = _Plan.read(folder)
    if plan is None or not (folder / STATE_FILE).is_file():
        return True
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, **read_metadata(folder / STATE_FILE)}
    return plan.step == network_step and bool(spent_by(plan.shortened(training), state["step"], state["seconds"]))


def _plan(folder: Path, run: DiffusionRun, options: PixelOptions, network_step: int) -> _Plan:
    """Return the stored plan, or a new one after removing the state of a decoder for the network of another step."""
    stored = _Plan.read(folder)
    if stored is not None and stored.step == network_step:
        return stored
    if is_first_process():
        for name in (STATE_FILE, METRICS_FILE):
            (folder / name).unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
    training, num = run.recipe.decoder_training, most_examples(run.shape, options)
    if training.steps is not None:
        num = min(num, training.steps * training.batch_size)
    timed = training.minutes is not None and Processes.here().count == 1  # several processes gather the same examples
    return _Plan(network_step, num, 60 * GATHERING * training.minutes if timed and training.minutes else None)
