"""The families of models, one record each: what differs between a diffusion model and a VAE before they are trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nelbo.data import Takes
from nelbo.diffusion import ContinuousObjective
from nelbo.objective import Objective
from nelbo.recipes.assembly import build_diffusion_objective, build_vae_objective
from nelbo.recipes.fitting import fit_diffusion, fit_latent, fit_vae
from nelbo.recipes.recipe import AnyRecipe

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Family:
    """A family of models. `nelbo.runs.loading.RUNS` says what its finished models are.

    Attributes:
        in_words: its name with an article, for messages.
        objective: (recipe, levels) -> what training minimises; of a latent diffusion model, that of its latents.
        fit: (recipe, shape, images of each class, levels, what a network takes) -> the recipe fitted to the data.
    """

    in_words: str
    objective: Callable[[Any, int], Objective]
    fit: Callable[[Any, Shape, Sequence[int], int, Takes], AnyRecipe]


FAMILIES: dict[str, Family] = {
    "diffusion": Family("a diffusion model", build_diffusion_objective, fit_diffusion),
    "latent": Family("a latent diffusion model", build_diffusion_objective, fit_latent),
    "vae": Family("a variational autoencoder", build_vae_objective, fit_vae),
}


def build_objective(recipe: AnyRecipe, levels: int) -> Objective:
    """Build what training minimises, for images of K levels.

    Raises:
        ConfigurationError: an unknown name, or settings that exclude each other.
    """
    return FAMILIES[recipe.family].objective(recipe, levels)


def learned_tensors(objective: Objective) -> dict[str, Tensor]:
    """Return what an objective has learned that the finished model needs beside its weights: a learned schedule."""
    return objective.model_tensors() if isinstance(objective, ContinuousObjective) else {}


def fit_to_data(
    recipe: AnyRecipe, shape: Shape, class_counts: Sequence[int], levels: int = 256, takes: Takes | None = None
) -> AnyRecipe:
    """Return the recipe fitted to images of `shape` (C, H, W) with K levels.

    Images whose side cannot be halved as often as the preset requires lose the lowest resolutions, with a warning.
    A recipe whose `conditional` is None becomes conditional or not, by `learns_classes`.

    Args:
        class_counts: number of training images of each class; empty for images without classes.
        takes: what the images have beside them; None for nothing.

    Raises:
        ConfigurationError: a conditional model for data without classes, or a model that cannot take what the images
            have beside them.
    """
    return FAMILIES[recipe.family].fit(recipe, shape, class_counts, levels, takes or Takes())
