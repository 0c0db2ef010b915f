"""Recipes of all families from JSON."""

from collections.abc import Mapping
from typing import Any

from nelbo.recipes.latent_recipe import LatentRecipe
from nelbo.recipes.recipe import AnyRecipe, Recipe, VAERecipe


def recipe_from_json(plain: Mapping[str, Any]) -> AnyRecipe:
    """Build a recipe of the family that its parts belong to.

    Raises:
        ConfigurationError: an unknown key or kind.
    """
    if "autoencoder" in plain:
        return LatentRecipe.from_json(plain)
    kind = VAERecipe if plain["network"].get("kind") == "vae" else Recipe
    return kind.from_json(plain)
