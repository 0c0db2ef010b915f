"""Training of the model that codes photographs, on crops of photographs."""

from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.errors import ConfigurationError
from nelbo.masking import MaskingModel, MaskingObjective, fit_linear
from nelbo.masking.context import NUM_LEVELS, num_inputs
from nelbo.masking.objective import SMALLEST_CROP
from nelbo.masking.order import num_steps
from nelbo.networks.context_network import ContextNetwork, ContextOptions
from nelbo.randomness import CODEC, INITIALISATION, derived_seed
from nelbo.studies.listener import Listener
from nelbo.studies.parts import rounded_training, train_part

BATCH = 16  # crops in a step
LINEAR_BATCH, LINEAR_ROUNDS = 24, 12  # crops, and batches for each level


def train_masking_model(
    crops: ImageDataset,
    folder: Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    hidden: int = 160,
    seed: int = 0,
    listener: Listener | None = None,
) -> MaskingModel | str:
    """Train a model on crops of photographs, or resume in the same folder.

    Args:
        crops: of 256 levels, with sides of at least 96 pixels.
        folder: receives the state of the training.
        minutes: the budget, or None.
        steps: the budget in optimizer steps, or None.
        hidden: features of each hidden layer.
        seed: of the weights and all draws.
        listener: receives the progress.

    Returns:
        The model, or the name of the signal that stopped the training.

    Raises:
        ConfigurationError: no budget or two, or the crops are too small or have other levels.
    """
    channels, listener = crops.shape[0], listener or Listener()
    if (minutes is None) == (steps is None):
        raise ConfigurationError("give minutes or steps for a masking model, and not both.")
    if min(crops.shape[1:]) < SMALLEST_CROP or crops.levels != NUM_LEVELS:
        raise ConfigurationError(
            f"a masking model needs crops of at least {SMALLEST_CROP} x {SMALLEST_CROP} pixels with {NUM_LEVELS} "
            f"levels, got {crops.shape[1]} x {crops.shape[2]} with {crops.levels}."
        )

    def batch(level: int, number: int) -> Tensor:
        generator = torch.Generator().manual_seed(derived_seed(seed, CODEC, level * LINEAR_ROUNDS + number))
        listener.on_stage("fitting the linear prediction", level * LINEAR_ROUNDS + number, 4 * LINEAR_ROUNDS)
        return crops.images(torch.randint(len(crops), (LINEAR_BATCH,), generator=generator))

    linear = fit_linear(batch, channels, rounds=LINEAR_ROUNDS, seed=seed)
    torch.manual_seed(derived_seed(seed, INITIALISATION, 4))
    network = ContextNetwork(ContextOptions(num_inputs(channels), num_steps(channels), hidden))
    training = rounded_training(steps, minutes, seed, learning_rate=2.5e-3, batch_size=BATCH, flip=True)
    trained = train_part(network, MaskingObjective(linear), crops, training, folder, listener)
    return trained if isinstance(trained, str) else MaskingModel(linear, trained.exact())
