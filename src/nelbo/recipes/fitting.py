"""A recipe fitted to its data: channels, classes, levels, and as many resolutions as the sides allow."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nelbo.data import Takes
from nelbo.errors import ConfigurationError, NelboWarning, option
from nelbo.networks.dit_options import DiTOptions
from nelbo.networks.mlp_options import MLPOptions
from nelbo.recipes.assembly import build_variance
from nelbo.recipes.latent_recipe import LatentRecipe
from nelbo.recipes.recipe import AnyRecipe, Recipe, VAERecipe

MOST_PADDING = 1 / 4  # of a side
REFINEMENT_SHARE = 0.1  # of the training budget
IMAGES_PER_CLASS = 10  # fewer, on average, and the names of folders are likely no classes that a model could learn


class AssemblyWarning(NelboWarning):
    """The model differs from its preset, because the data requires it."""


def fit_vae(
    recipe: VAERecipe, shape: tuple[int, int, int], class_counts: Sequence[int], levels: int, takes: Takes
) -> VAERecipe:
    """Fit the network's shape, levels and depth.

    Raises:
        ConfigurationError: images with missing pixels, or with numbers or images to condition on.
    """
    if takes != Takes():
        raise ConfigurationError(
            "a VAE takes whole images alone; leave out " + _named(takes) + ", or choose the preset images."
        )
    depth = _fitting(recipe.network.depth, shape, "VAE")
    return replace(recipe, network=replace(recipe.network, shape=shape, levels=levels, depth=depth))


def learns_classes(class_counts: Sequence[int]) -> bool:
    """Whether a recipe whose `conditional` is None becomes class-conditional.

    It does if the training images have at least two classes, and these have ten images each on average.

    >>> learns_classes([12, 8]), learns_classes([20]), learns_classes([2] * 300)
    (True, False, False)

    Args:
        class_counts: number of training images of each class.
    """
    found = [count for count in class_counts if count]
    return len(found) >= 2 and sum(found) >= IMAGES_PER_CLASS * len(found)


def fit_diffusion(
    recipe: Recipe, shape: tuple[int, int, int], class_counts: Sequence[int], levels: int, takes: Takes
) -> Recipe:
    """Fit the network's channels, classes, conditions and resolutions.

    Raises:
        ConfigurationError: a conditional model for data without classes, or an MLP with images to condition on.
    """
    if recipe.conditional is None:
        recipe = replace(recipe, conditional=learns_classes(class_counts))
    if recipe.conditional and not class_counts:
        raise ConfigurationError("a conditional model needs classes; put the images of each class into its own folder.")
    learned, classes = build_variance(recipe).learned, len(class_counts) if recipe.conditional else None
    network = recipe.network
    if isinstance(network, MLPOptions):
        if takes.channels is not None:
            raise ConfigurationError(
                f"an MLP takes no image to condition on; leave out {option('condition_images')}, or use a U-Net or "
                "a DiT."
            )
        fitted = replace(network, dims=math.prod(shape), learned_variance=learned, num_classes=classes)
        return replace(recipe, network=replace(fitted, condition_size=takes.size, masked=takes.masked))
    if isinstance(network, DiTOptions):
        sizes: dict[str, Any] = {"patch": _patch(network.patch, shape)}
    else:
        depth = 1 + _halvings_with_padding(len(network.multipliers) - 1, shape)
        kept = tuple(level for level in network.attention if level < depth)
        sizes = {"multipliers": network.multipliers[:depth], "attention": kept}
    network = replace(
        network,
        **sizes,
        channels=shape[0],
        learned_variance=learned,
        num_classes=classes,
        condition_size=takes.size,
        condition_channels=takes.channels,
        masked=takes.masked,
    )
    return replace(recipe, network=network)


def fit_latent(
    recipe: LatentRecipe, shape: tuple[int, int, int], class_counts: Sequence[int], levels: int, takes: Takes
) -> Recipe:
    """Fit the autoencoder to the images, and the diffusion network to the latents.

    Raises:
        ConfigurationError: images with missing pixels, or with numbers or images to condition on; or see
            `fit_diffusion`.
    """
    if takes != Takes():
        raise ConfigurationError(
            "a latent diffusion model takes whole images alone; leave out "
            + _named(takes)
            + ", or choose the preset images."
        )
    autoencoder = recipe.autoencoder.fitted(shape, levels)
    recipe = replace(recipe, autoencoder=autoencoder)
    return fit_diffusion(recipe, autoencoder.latent_shape, class_counts, levels, takes)


def fit_refinement(recipe: AnyRecipe, levels: int) -> AnyRecipe:
    """Give the network of digits its share of the budget if images have more than 256 levels.

    Raises:
        ConfigurationError: the recipe is not of a diffusion model, which alone has such a network.
    """
    if levels <= 256:
        return recipe
    if not isinstance(recipe, Recipe) or isinstance(recipe, LatentRecipe):
        raise ConfigurationError(
            f"images of {levels:,} levels need a diffusion model; choose {option('preset', 'images')}."
        )
    own = recipe.decoder
    return recipe if own.refinement else replace(recipe, decoder=replace(own, refinement=REFINEMENT_SHARE))


def _halvings_with_padding(wanted: int, shape: tuple[int, int, int]) -> int:
    """Return how many of the `wanted` halvings of a U-Net images of `shape` allow with padding; warn if it is fewer."""
    fitting = [halvings for halvings in range(wanted + 1) if _pads_little(2**halvings, shape)]
    if fitting[-1] < wanted:
        warnings.warn(
            f"images of {shape[2]} x {shape[1]} are too small for all resolutions of the U-Net, which keeps "
            f"{fitting[-1] + 1} of its {wanted + 1}; set {option('size')} to at least {2**wanted} to keep all.",
            AssemblyWarning,
            stacklevel=4,
        )
    return fitting[-1]


def _patch(wanted: int, shape: tuple[int, int, int]) -> int:
    """Return the largest patch of a DiT, at most `wanted`, that images of `shape` allow with padding; warn if lower."""
    patch = max(side for side in range(1, wanted + 1) if _pads_little(side, shape))
    if patch < wanted:
        warnings.warn(
            f"images of {shape[2]} x {shape[1]} are too small for patches of {wanted} x {wanted}, so the DiT has "
            f"patches of {patch} x {patch}; set {option('size')} to a multiple of {wanted} to keep them.",
            AssemblyWarning,
            stacklevel=4,
        )
    return patch


def _pads_little(multiple: int, shape: tuple[int, int, int]) -> bool:
    """Whether a network that pads each side to a multiple adds a quarter at most, and computes as much more."""
    return all(-(-side // multiple) * multiple <= (1 + MOST_PADDING) * side for side in shape[1:])


def _named(takes: Takes) -> str:
    """Name the options that give what images have beside them."""
    given = {"mask": takes.masked, "table": takes.size, "condition_images": takes.channels}
    return " and ".join(option(name) for name, value in given.items() if value)


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
