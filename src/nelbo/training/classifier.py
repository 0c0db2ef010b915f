"""Training of the small classifier whose features give the Frechet distance: cross-entropy on a data set's labels."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.data import ImageDataset, TrainingStream
from nelbo.errors import DataError
from nelbo.networks import Classifier, ClassifierOptions
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.randomness import INITIALISATION, derived_seed, step_generator

BATCH, LEARNING_RATE, WEIGHT_DECAY, SMOOTHING = 128, 3e-3, 0.01, 0.05
TURN, ZOOM, SHIFT = 0.15, 0.1, 0.1  # maxima: angle in radians, relative size, shift as a share of half a side


def train_classifier(
    options: ClassifierOptions,
    images: ImageDataset,
    *,
    steps: int,
    movement: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> Classifier:
    """Train a classifier of the labels of `images` on randomly transformed copies of them.

    AdamW with a one-cycle learning rate. Every draw is a function of the seed and the step.

    Args:
        steps: optimizer steps of 128 images each.
        movement: strength of the transformations: 0 for none; 1 rotates by up to 0.15 radians, scales by up to a tenth
            and shifts by up to a tenth of half a side.
        seed: random seed.
        progress: called after each step.

    Returns:
        The classifier in evaluation mode.

    Raises:
        DataError: the images have no labels.
    """
    if images.labels is None:
        raise DataError(f"{images.name} has no labels; put the images into one sub-folder per class.")
    labelled = images.subset((images.labels >= 0).nonzero().flatten())
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derived_seed(seed, INITIALISATION))
        network = Classifier(options)
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    stream = TrainingStream(len(labelled), BATCH, seed)
    for step in range(steps):
        indices = stream.indices(step)
        x_0 = levels_to_data(labelled.images(indices), images.levels)
        x_0 = moved(x_0, movement, step_generator(seed, step)).to(device)
        assert labelled.labels is not None
        loss = F.cross_entropy(network(x_0), labelled.labels[indices].to(device), label_smoothing=SMOOTHING)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, steps)
    return network.eval().requires_grad_(False)


def moved(x_0: Tensor, movement: float, generator: torch.Generator) -> Tensor:
    """Rotate, scale and shift each image by random amounts.

    Args:
        x_0: (B, C, H, W) in [-1, 1]. Pixels that enter from outside the image are -1.
        movement: strength, see `train_classifier`.
    """
    turn, zoom, right, down = (movement * (2 * torch.rand(len(x_0), 4, generator=generator) - 1)).unbind(1)
    turn, zoom = TURN * turn, torch.exp(math.log1p(ZOOM) * zoom)
    rows = [
        torch.stack([zoom * turn.cos(), -zoom * turn.sin(), SHIFT * right], 1),
        torch.stack([zoom * turn.sin(), zoom * turn.cos(), SHIFT * down], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x_0.shape), align_corners=False)
    return F.grid_sample(x_0 + 1, grid, align_corners=False) - 1


@torch.no_grad()
def classifier_accuracy(network: Classifier, images: ImageDataset, batch_size: int = 500) -> float:
    """Return the share of the labelled images that the classifier classifies correctly, 0..1.

    Raises:
        DataError: the images have no labels.
    """
    if images.labels is None:
        raise DataError(f"{images.name} has no labels, so its accuracy cannot be measured.")
    device, right = next(network.parameters()).device, 0
    known = (images.labels >= 0).nonzero().flatten()
    for some in known.split(batch_size):
        logits = network(levels_to_data(images.images(some), images.levels).to(device))
        right += int((logits.argmax(1).cpu() == images.labels[some]).sum())
    return right / max(len(known), 1)
