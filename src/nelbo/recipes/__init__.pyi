from .latent_recipe import LatentRecipe
from .presets import DESCRIPTIONS, PRESETS, default_preset, preset
from .recipe import AnyRecipe, Recipe, ScheduleOptions, VAERecipe

__all__ = [
    "DESCRIPTIONS",
    "PRESETS",
    "AnyRecipe",
    "LatentRecipe",
    "Recipe",
    "ScheduleOptions",
    "VAERecipe",
    "default_preset",
    "preset",
]
