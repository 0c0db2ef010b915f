"""The second stage of a training run: the pixel network of the decoder p(x_0|x_1), once the network is finished."""

import time
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from nelbo.data import ImageDataset
from nelbo.diffusion import PixelObjective
from nelbo.diffusion.pixel_prediction import fit_prediction
from nelbo.files import read_metadata
from nelbo.networks import PixelNetwork, PixelOptions
from nelbo.randomness import INITIALISATION, derived_seed
from nelbo.recipes.assembly import build_pixel_options
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.studies.decoder_examples import GATHERING, Gathering, gather_examples, most_examples
from nelbo.studies.listener import Listener
from nelbo.training import STATE_FILE, Processes, Trainer, TrainerOptions
from nelbo.training.budget import spent_by

FOLDER = "decoder"


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
    options = build_pixel_options(run.recipe, run.shape[0], run.config.data.levels)
    if options is None:
        return None
    folder = run.folder / FOLDER
    if run.pixels is not None and _is_finished(folder, run.recipe.decoder_training, network_step):
        return None
    plan = _gathering(run, options, network_step).kept(folder)
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
    plan = plan.done(len(examples), time.monotonic() - began)
    plan.save(folder)
    torch.manual_seed(derived_seed(run.recipe.training.seed, INITIALISATION, 1))

    def keep(network: nn.Module, step: int) -> None:
        run.pixels = cast(PixelNetwork, network)

    network = PixelNetwork(options)
    if network.prediction is not None:
        network.prediction.copy_(fit_prediction(examples, options))
    trainer = Trainer(
        network,
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


def _is_finished(folder: Path, training: TrainerOptions, network_step: int) -> bool:
    """Return whether the decoder of a run belongs to the network of this step and has spent its budget.

    A decoder without its training state cannot be trained further, and is finished.
    """
    plan = Gathering.read(folder)
    if plan is None or not (folder / STATE_FILE).is_file():
        return True
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, **read_metadata(folder / STATE_FILE)}
    return plan.step == network_step and bool(spent_by(plan.shortened(training), state["step"], state["seconds"]))


def _gathering(run: DiffusionRun, options: PixelOptions, network_step: int) -> Gathering:
    """Return how many examples to gather, in which time; several processes gather the same ones, without a clock."""
    training, num = run.recipe.decoder_training, most_examples(run.shape, 2 + options.reads_x_1)
    if training.steps is not None:
        num = min(num, training.steps * training.batch_size)
    timed = training.minutes is not None and Processes.here().count == 1
    return Gathering(network_step, num, 60 * GATHERING * training.minutes if timed and training.minutes else None)
