"""The second stage of a training run: the pixel network of the decoder p(x_0|x_1), once the network is finished."""

import contextlib
import json
from pathlib import Path
from typing import cast

import torch
from torch import nn

from nelbo.data import ImageDataset
from nelbo.diffusion import PixelObjective
from nelbo.files import write_json
from nelbo.networks import PixelNetwork
from nelbo.randomness import INITIALISATION, derived_seed
from nelbo.recipes.assembly import build_pixel_options
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.studies.listener import Listener
from nelbo.training import METRICS_FILE, STATE_FILE, Processes, Trainer, is_first_process

FOLDER, OWNER = "decoder", "network.json"


def train_decoder(run: DiffusionRun, images: ImageDataset, network_step: int, listener: Listener) -> str | None:
    """Train the decoder of a run whose network is finished, or resume that, and write it into the run folder.

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
    _forget_earlier(folder, network_step)
    Processes.here().meet()
    torch.manual_seed(derived_seed(run.recipe.training.seed, INITIALISATION, 1))
    objective = PixelObjective(run.reverse(clip=True), options)

    def keep(network: nn.Module, step: int) -> None:
        run.pixels = cast(PixelNetwork, network)

    trainer = Trainer(
        PixelNetwork(options),
        objective,
        images,
        run.recipe.decoder_training,
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


def _forget_earlier(folder: Path, network_step: int) -> None:
    """Remove the state of a decoder that was trained for the network of another step."""
    if not is_first_process():
        return
    owner, stored = folder / OWNER, None
    with contextlib.suppress(OSError, ValueError):
        stored = json.loads(owner.read_text(encoding="utf-8"))
    if stored != {"step": network_step}:
        for name in (STATE_FILE, METRICS_FILE):
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(exist_ok=True)
    write_json(owner, {"step": network_step})
