"""A recipe fitted to its data: channels, classes, levels, and as many resolutions as the sides allow."""

import math
import warnings
from dataclasses import replace

from nelbo.errors import ConfigurationError, NelboWarning, option
from nelbo.networks.mlp_options import MLPOptions
from nelbo.recipes.assembly import build_variance
from nelbo.recipes.recipe import Recipe, VAERecipe


class AssemblyWarning(NelboWarning):
    """The model differs from its preset, because the data requires it."""


def fit_vae(recipe: VAERecipe, shape: tuple[int, int, int], num_classes: int, levels: int) -> VAERecipe:
    """Fit the network's shape, levels and depth."""
    depth = _fitting(recipe.network.depth, shape, "VAE")
    return replace(recipe, network=replace(recipe.network, shape=shape, levels=levels, depth=depth))


def fit_diffusion(recipe: Recipe, shape: tuple[int, int, int], num_classes: int, levels: int) -> Recipe:
    """Fit the network's channels, classes and resolutions.

    Raises:
        ConfigurationError: a conditional model for data without classes.
    """
    if recipe.conditional and num_classes == 0:
        raise ConfigurationError("a conditional model needs classes; put the images of each class into its own folder.")
    learned, classes = build_variance(recipe).learned, num_classes if recipe.conditional else None
    network = recipe.network
    if isinstance(network, MLPOptions):
        fitted = replace(network, dims=math.prod(shape), learned_variance=learned, num_classes=classes)
        return replace(recipe, network=fitted)
    depth = 1 + _fitting(len(network.multipliers) - 1, shape, "U-Net")
    network = replace(
        network,
        channels=shape[0],
        multipliers=network.multipliers[:depth],
        attention=tuple(level for level in network.attention if level < depth),
        learned_variance=learned,
        num_classes=classes,
    )
    return replace(recipe, network=network)


def _fitting(wanted: int, shape: tuple[int, int, int], what: str) -> int:
    """Return how many of the `wanted` halvings images of `shape` allow; warn if it is fewer."""
    possible = min(_halvings(side) for side in shape[1:])
    if possible < wanted:
        warnings.warn(
            f"images of {shape[2]} x {shape[1]} {_halved(possible)}, so the {what} keeps {possible + 1} of its "
            f"{wanted + 1} resolutions; set {option('size')} to a multiple of {2**wanted} to keep all.",
            AssemblyWarning,
            stacklevel=4,
        )
    return min(wanted, possible)


def _halved(count: int) -> str:
    return {0: "cannot be halved", 1: "can be halved once"}.get(count, f"can be halved {count} times")


def _halvings(side: int) -> int:
    """Return how often a side can be halved."""
    return (side & -side).bit_length() - 1
