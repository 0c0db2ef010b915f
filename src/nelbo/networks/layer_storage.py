"""The tensors of an integer convolution, as files of models store them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.networks.integers import IntegerConv

KINDS = {"weight": torch.int8, "bias": torch.int32, "shift": torch.int8}


def layer_tensors(name: str, layer: IntegerConv) -> dict[str, Tensor]:
    """Return the tensors of a layer."""
    return {f"{name}.{kind}": getattr(layer, kind).to(dtype) for kind, dtype in KINDS.items()}


def layer_of(
    tensors: Mapping[str, Tensor], name: str, shape: tuple[int, int, int], limit: int, steps: int = 1, stride: int = 1
) -> IntegerConv:
    """Read a layer (O, I, k) that `layer_tensors` wrote.

    Raises:
        KeyError: a tensor is missing.
        ConfigurationError: a tensor has another shape or dtype, or the sums of the layer are not exact.
    """
    width_out, width_in, side = shape
    weight, bias, shift = found = [tensors[f"{name}.{kind}"] for kind in KINDS]
    expected = [(width_out, width_in, side, side), (steps, width_out), (width_out,)]
    fits = [tuple(each.shape) for each in found] == expected and [each.dtype for each in found] == [*KINDS.values()]
    if not fits or int(shift.min()) < 0:
        raise ConfigurationError(f"the tensors of the layer {name} are not those of {shape}.")
    return IntegerConv(weight.float(), bias.float(), shift.float(), limit, stride)
