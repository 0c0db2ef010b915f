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


def _put(plain: dict[str, Any], full: str, path: list[str], value: Any) -> None:
    """Set the value at a dotted name within nested dictionaries."""
    known(path[0], plain, f"setting ({full})")
    inner = plain[path[0]]
    if isinstance(inner, dict) != (len(path) > 1):
        raise ConfigurationError(
            f"{full!r} names a part of {path[0]!r}, which has no parts."
            if len(path) > 1
            else f"{full!r} has parts ({', '.join(inner)}); name one of them, such as {full}.{next(iter(inner))}."
        )
    if len(path) > 1:
        _put(inner, full, path[1:], value)
    else:
        plain[path[0]] = value
