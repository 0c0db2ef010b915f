"""Training of one network of a model that has several: it returns the averaged network."""

from pathlib import Path
from typing import TypeVar

from torch import nn

from nelbo.data import ImageDataset
from nelbo.objective import Objective
from nelbo.studies.listener import Listener
from nelbo.training import Trainer, TrainerOptions

Module = TypeVar("Module", bound=nn.Module)


def rounded_training(
    steps: int | None, minutes: float | None, seed: int, *, learning_rate: float, batch_size: int, flip: bool = False
) -> TrainerOptions:
    """Return how a network with rounded weights is trained; the arguments are those of `TrainerOptions`."""
    return TrainerOptions(
        steps=steps,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        optimizer="muon",
        betas=(0.9, 0.99),
        warmup=100,
        decay="cosine",
        ema=0.998,
        precision="fp32",
        flip=flip,
        seed=seed,
    )


def train_part(
    network: Module,
    objective: Objective,
    data: ImageDataset,
    options: TrainerOptions,
    folder: Path,
    listener: Listener,
) -> Module | str:
    """Train a network, or resume in the same folder, whose name the progress states.

    Returns:
        Its averaged copy, or the name of the signal that stopped the training.
    """
    stage, kept = f"training the {folder.name}", list[Module]()

    def keep(averaged: nn.Module, step: int) -> None:
        kept[:] = [averaged]  # type: ignore[list-item]

    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(
        network,
        objective,
        data,
        options,
        folder,
        on_save=keep,
        on_progress=lambda step: listener.on_stage(stage, int(1000 * step.fraction), 1000),
    )
    trainer.run()
    return trainer.stopped_by or kept[-1].cpu()
