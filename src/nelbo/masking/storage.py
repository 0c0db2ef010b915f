"""The tensors of a masking model, as a file stores them: integers, whose SHA-256 identifies the model."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, RunError
from nelbo.files import fingerprint
from nelbo.masking.context import num_inputs
from nelbo.masking.linear import LARGEST
from nelbo.masking.model import MaskingModel
from nelbo.masking.order import WINDOW, num_steps
from nelbo.networks.context_network import ContextOptions, ExactContextNetwork, layer_shapes
from nelbo.networks.layer_storage import layer_of, layer_tensors
from nelbo.options import options_from

REMEDY = "restore the file from a copy."
LINEAR = "linear"


def tensors_of(model: MaskingModel) -> dict[str, Tensor]:
    """Return the tensors of a model by name."""
    found = {LINEAR: model.linear.to(torch.int32)}
    for place, layer in enumerate(model.network.layers):
        found |= layer_tensors(f"network.{place}", layer)
    return found


def settings_of(model: MaskingModel) -> dict[str, Any]:
    """Return the sizes of a model as plain values."""
    return {"channels": model.channels, "network": asdict(model.network.options)}


def fingerprint_of(model: MaskingModel) -> bytes:
    """Return 32 bytes of SHA-256 over the sizes and the tensors of a model."""
    return fingerprint(settings_of(model), tensors_of(model))


def model_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> MaskingModel:
    """Build a model from the output of `settings_of` and `tensors_of`.

    Raises:
        RunError: a setting or a tensor is missing or has an unexpected value; or a layer is not exact.
    """
    try:
        channels, options = int(settings["channels"]), options_from(ContextOptions, settings["network"])
        linear = tensors[LINEAR]
        wanted = (num_steps(channels), channels * WINDOW**2)
        if linear.dtype != torch.int32 or tuple(linear.shape) != wanted or int(linear.long().abs().max()) > LARGEST:
            raise RunError(f"the tensor {LINEAR} is {linear.dtype} {tuple(linear.shape)}; {REMEDY}")
        if (options.inputs, options.steps) != (num_inputs(channels), num_steps(channels)):
            raise RunError(f"the network of the model of photographs does not fit {channels} channels; {REMEDY}")
        layers = [
            layer_of(tensors, f"network.{place}", shape, **layout)
            for place, (shape, layout) in enumerate(layer_shapes(options))
        ]
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        text = error.marked if isinstance(error, ConfigurationError) else repr(error)
        raise RunError(f"the model of photographs is damaged: {text}; {REMEDY}") from error
    return MaskingModel(linear.long(), ExactContextNetwork(options, layers))
