"""What samples a training can be expected to give, by the number of images that it sees."""

from __future__ import annotations

import math

from nelbo.recipes.recipe import AnyRecipe, Recipe

# Of fashion-mnist with Muon, 1,150 steps of 32 gave a Frechet distance of 30, 2,700 steps one of 4. The 8x8 digits need
# half as many.
RECOGNISABLE_AFTER = 64_000  # images
SMALLEST_SIDE = 16  # pixels


def too_short(recipe: AnyRecipe, shape: tuple[int, int, int], steps: float) -> bool:
    """Return whether the samples of a model of images will probably not be recognisable after so many steps."""
    pictures = isinstance(recipe, Recipe) and shape[0] in (1, 3) and min(shape[1:]) >= SMALLEST_SIDE
    return pictures and steps * recipe.training.batch_size < RECOGNISABLE_AFTER


def forecast(recipe: AnyRecipe, steps: float) -> str:
    """Say at the start what a short training will give."""
    return f"the budget is about {round_down(steps)} steps on this machine: {_usual(recipe)}"


def outcome(recipe: AnyRecipe, steps: int, seconds: float) -> str:
    """Say at the end of a short training what to do next."""
    budget, network = recipe.training.minutes, recipe.network_training.minutes  # the decoder gets the rest
    if budget is None or network is None:
        more = "a larger --steps"
    else:
        minutes = seconds / 60 * RECOGNISABLE_AFTER / (steps * recipe.training.batch_size) * budget / network
        more = f"--minutes {5 * math.ceil(minutes / 5)} or more"
    return f"{steps} steps are few: {_usual(recipe)}. The same command with {more} resumes"


def _usual(recipe: AnyRecipe) -> str:
    steps = RECOGNISABLE_AFTER // recipe.training.batch_size
    return f"samples are coarse shapes at first, and usually recognisable after {steps:,} steps"


def round_down(steps: float) -> str:
    """Write a number of steps with two digits."""
    unit = 10 ** max(len(str(int(steps))) - 2, 0)
    return f"{int(steps) // unit * unit:,}"
