"""The width of another library's network, so that it has about as many parameters as nelbo's network."""

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import nn

from nelbo.recipes import AnyRecipe, default_preset, preset
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import fit_to_data
from nelbo.runs import DataOptions

MOST_LEVELS = 3


def num_parameters(build: Callable[[], nn.Module]) -> int:
    """Return the number of trained parameters of a network, without allocating them."""
    with torch.device("meta"):
        network = build()
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def nearest_width(build: Callable[[int], nn.Module], widths: Iterable[int], parameters: int) -> int:
    """Return the width, of rising `widths`, whose network has the number of parameters nearest to `parameters`."""
    best, least = 0, -1
    for width in widths:
        away = abs(num_parameters(lambda width=width: build(width)) - parameters)  # type: ignore[misc]
        if best and away > least:
            break
        best, least = width, away
    return best


def default_parameters(data: DataOptions) -> int:
    """Return the number of parameters of nelbo's default network for some data."""
    recipe: AnyRecipe = preset(default_preset(data.spec))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about resolutions that small images do not have
        recipe = fit_to_data(recipe, data.shape, data.class_counts, data.levels)
    return num_parameters(lambda: build_network(recipe))


def halvings(shape: tuple[int, int, int], most: int) -> int:
    """Return how often both sides of (C, H, W) can be halved, at most `most` times."""
    return min(most, *((side & -side).bit_length() - 1 for side in shape[1:]))
