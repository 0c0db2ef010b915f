"""The pixel network of the decoder p(x_0|x_1) in a run folder, stored with the weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from nelbo.errors import NelboWarning, RunError
from nelbo.files import misfits
from nelbo.networks import PixelNetwork
from nelbo.recipes.assembly import build_pixel_options
from nelbo.recipes.recipe import Recipe
from nelbo.runs.data_options import DataOptions
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE

PREFIX = "pixels."


class DecoderWarning(NelboWarning):
    """Samples of a model whose decoder is not trained yet."""


def pixel_tensors(network: PixelNetwork) -> dict[str, Tensor]:
    """Return the tensors to store in model.safetensors."""
    return {PREFIX + name: value for name, value in network.state_dict().items()}


def load_pixels(
    folder: Path, recipe: Recipe, data: DataOptions, stored: Mapping[str, Tensor], device: torch.device
) -> PixelNetwork | None:
    """Return the network that `pixel_tensors` stored, in evaluation mode; None if there is none.

    Raises:
        RunError: the tensors are not those of the recipe's network.
    """
    options = build_pixel_options(recipe, data.shape[0], data.levels)
    weights = {name.removeprefix(PREFIX): value for name, value in stored.items() if name.startswith(PREFIX)}
    if options is None or not weights:  # the decoder is not trained yet
        return None
    with torch.device("meta"):
        network = PixelNetwork(options)
    if problem := misfits(network.state_dict(), weights):
        raise RunError(f"the decoder in {folder / MODEL_FILE} does not fit {folder / CONFIG_FILE}: {problem}.")
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False).to(device)
