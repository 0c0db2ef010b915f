"""The last stage of a training run on images of more than 256 levels: the network of their fine levels."""

import torch

from nelbo.data import ImageDataset
from nelbo.files import read_metadata
from nelbo.networks.digit_network import DigitNetwork
from nelbo.randomness import INITIALISATION, derived_seed
from nelbo.refinement import LevelSplit, Refinement, RefinementObjective
from nelbo.refinement.storage import options_for
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.refinement import REFINEMENT_FILE, save_refinement
from nelbo.studies.listener import Listener
from nelbo.studies.parts import rounded_training, train_part
from nelbo.training import STATE_FILE
from nelbo.training.budget import spent_by

FOLDER = "refinement"
HIDDEN, BATCH, LEARNING_RATE = 96, 16, 2.5e-3


def train_refinement(run: DiffusionRun, images: ImageDataset, listener: Listener) -> str | None:
    """Train the refinement of a run, or resume that, and write it into the run folder.

    A refinement that is finished stays as it is. It does not depend on the diffusion model.

    Args:
        run: of the coarse levels.
        images: training images of K levels; nothing is done for up to 256.
        listener: receives the progress.

    Returns:
        The name of the signal that stopped it, or None.
    """
    if images.levels <= 256:
        return None
    folder, budget = run.folder / FOLDER, run.recipe.refinement_training
    training = rounded_training(
        budget.steps, budget.minutes, budget.seed, learning_rate=LEARNING_RATE, batch_size=min(BATCH, len(images))
    )
    if (run.folder / REFINEMENT_FILE).is_file():
        state = {"step": 0, "seconds": 0.0}
        if not (folder / STATE_FILE).is_file():
            return None
        state |= read_metadata(folder / STATE_FILE)
        if spent_by(training, int(state["step"]), state["seconds"]):
            return None
    split = LevelSplit(images.levels)
    torch.manual_seed(derived_seed(budget.seed, INITIALISATION, 5))
    network = DigitNetwork(options_for(split, run.shape[0], HIDDEN))
    trained = train_part(network, RefinementObjective(split), images, training, folder, listener)
    if isinstance(trained, str):
        return trained
    run.refinement = Refinement(split, trained.exact())
    save_refinement(run.refinement, run.folder)
    return None
