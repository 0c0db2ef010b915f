"""Options of a diffusion model are refused for a model of another family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nelbo.errors import ConfigurationError, option

if TYPE_CHECKING:
    from nelbo.runs import Run


def refuse_chain_options(model: Run, name: str, options: Mapping[str, object]) -> None:
    """Check that a model without a diffusion chain receives no option of the chain.

    Args:
        name: the run as the user wrote it.
        options: values by option name; None means that the option was not given.

    Raises:
        ConfigurationError: the model is not a diffusion model, and some of the options were given.
    """
    from nelbo.recipes.families import FAMILIES

    given = [option(each) for each, value in options.items() if value is not None]
    if model.family != "diffusion" and given:
        raise ConfigurationError(
            f"{name} is {FAMILIES[model.family].in_words}: it has no chain of steps and no classes, and runs in "
            f"float32; remove {', '.join(given)}."
        )
