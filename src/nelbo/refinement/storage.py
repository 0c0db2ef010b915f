"""The tensors of a refinement, as a file stores them: integers, whose SHA-256 identifies the model."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor

from nelbo.errors import ConfigurationError, RunError
from nelbo.files import fingerprint
from nelbo.networks.digit_network import DigitOptions, ExactDigitNetwork, layer_shapes
from nelbo.networks.layer_storage import layer_of, layer_tensors
from nelbo.options import options_from
from nelbo.refinement.context import num_inputs
from nelbo.refinement.model import Refinement, num_steps
from nelbo.refinement.split import LevelSplit

REMEDY = "restore the file from a copy."


def tensors_of(model: Refinement) -> dict[str, Tensor]:
    """Return the tensors of a model by name."""
    found = dict[str, Tensor]()
    for place, layer in enumerate(model.network.layers):
        found |= layer_tensors(f"network.{place}", layer)
    return found


def settings_of(model: Refinement) -> dict[str, Any]:
    """Return the sizes of a model as plain values."""
    return {"levels": model.split.levels, "network": asdict(model.network.options)}


def fingerprint_of(model: Refinement) -> bytes:
    """Return 32 bytes of SHA-256 over the sizes and the tensors of a model."""
    return fingerprint(settings_of(model), tensors_of(model))


def options_for(split: LevelSplit, channels: int, hidden: int) -> DigitOptions:
    """Return the size of the network for images of C channels."""
    return DigitOptions(num_inputs(channels), num_steps(split, channels), split.base, hidden)


def model_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor], channels: int) -> Refinement:
    """Build a model from the output of `settings_of` and `tensors_of`.

    Args:
        settings: the sizes.
        tensors: by name.
        channels: C of the images.

    Raises:
        RunError: a setting or a tensor is missing or has an unexpected value; or a layer is not exact.
    """
    try:
        split, options = LevelSplit(int(settings["levels"])), options_from(DigitOptions, settings["network"])
        if options != options_for(split, channels, options.hidden):
            raise RunError(f"the refinement does not fit images of {channels} channels; {REMEDY}")
        layers = [
            layer_of(tensors, f"network.{place}", shape, **layout)
            for place, (shape, layout) in enumerate(layer_shapes(options))
        ]
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        text = error.marked if isinstance(error, ConfigurationError) else repr(error)
        raise RunError(f"the refinement is damaged: {text}; {REMEDY}") from error
    return Refinement(split, ExactDigitNetwork(options, layers))
