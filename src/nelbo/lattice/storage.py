"""The tensors of a lattice model, as a file stores them: integers, whose SHA-256 identifies the model."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from nelbo.diffusion.passes import num_stages
from nelbo.errors import ConfigurationError, RunError
from nelbo.files import fingerprint
from nelbo.lattice.chain import LINEAR_BITS, IntegerChain, LinearModel
from nelbo.lattice.model import LatticeModel
from nelbo.networks.exact_pixels import ExactPixelNetwork
from nelbo.networks.exact_pixels import layer_shapes as pixel_shapes
from nelbo.networks.layer_storage import layer_of, layer_tensors
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.step_network import IntegerStepNetwork, StepOptions
from nelbo.networks.step_network import layer_shapes as step_shapes
from nelbo.options import options_from
from nelbo.probability.integer_gaussian import SCALES

LATER = ("convolved", "window")  # settings that the first models did not have
TABLES = ("mean", "coefficient", "scale", "prior_scale")
PREDICTION = "pixels.prediction"
REMEDY = "restore the file from a copy, or make it again with `nelbo codec --integers --again`."


def tensors_of(model: LatticeModel) -> dict[str, Tensor]:
    """Return the tensors of a model by name."""
    linear = model.chain.linear
    found = {f"linear.{name}": getattr(linear, name).to(torch.int32) for name in TABLES}
    for part, layers in (("chain", model.chain.network.layers), ("pixels", dict(enumerate(model.pixels.layers)))):
        for name, layer in layers.items():
            found |= layer_tensors(f"{part}.{name}", layer)
    if model.pixels.prediction is not None:
        found[PREDICTION] = model.pixels.prediction.to(torch.int32)
    return found


def settings_of(model: LatticeModel) -> dict[str, Any]:
    """Return the sizes of a model as plain values."""
    linear = model.chain.linear
    return {
        "levels": linear.levels,
        "spacing": linear.spacing,
        "chain": asdict(model.chain.network.options),
        "pixels": {
            # left out as in models from before it, so that their fingerprints stay the same
            name: value
            for name, value in asdict(model.pixels.options).items()
            if name not in LATER or value != getattr(PixelOptions(), name)
        },
    }


def fingerprint_of(model: LatticeModel) -> bytes:
    """Return 32 bytes of SHA-256 over the sizes and the tensors of a model."""
    return fingerprint(settings_of(model), tensors_of(model))


def model_from(settings: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LatticeModel:
    """Build a model from the output of `settings_of` and `tensors_of`.

    Raises:
        RunError: a setting or a tensor is missing or has an unexpected value; or a layer is not exact.
    """
    try:
        levels, spacing = int(settings["levels"]), int(settings["spacing"])
        chain, pixels = options_from(StepOptions, settings["chain"]), options_from(PixelOptions, settings["pixels"])
        if levels < 2 or spacing < 1 or spacing & spacing - 1 or pixels.levels != levels or pixels.blocks < 1:
            raise RunError(f"the integer model has the levels {levels} and the spacing {spacing}; {REMEDY}")
        shape = tuple(_taken(tensors, "linear.mean", torch.int32).shape)
        tables = {name: _taken(tensors, f"linear.{name}", torch.int32).long() for name in TABLES}
        linear = LinearModel(levels, spacing, **tables, stages=num_stages(pixels.side))
        _check_tables(linear, shape, chain)
        layers = {
            name: layer_of(tensors, f"chain.{name}", dims, **layout)
            for name, (dims, layout) in step_shapes(chain).items()
        }
        rows = [
            layer_of(tensors, f"pixels.{place}", dims, limit)
            for place, (dims, limit) in enumerate(pixel_shapes(pixels))
        ]
        prediction = _taken(tensors, PREDICTION, torch.int32) if pixels.dilated else None
        exact = ExactPixelNetwork(pixels, rows, prediction)
    except (KeyError, TypeError, ValueError, ConfigurationError) as error:
        text = error.marked if isinstance(error, ConfigurationError) else repr(error)
        raise RunError(f"the integer model is damaged: {text}; {REMEDY}") from error
    return LatticeModel(IntegerChain(linear, IntegerStepNetwork(chain, layers)), exact)


def _check_tables(linear: LinearModel, shape: tuple[int, ...], chain: StepOptions) -> None:
    """Check the shapes and the range of the tables."""
    steps = chain.steps - linear.stages + 1
    wanted = {"mean": shape, "prior_scale": shape, "coefficient": (steps, *shape), "scale": (steps, *shape)}
    for name, expected in wanted.items():
        if tuple(getattr(linear, name).shape) != expected or len(shape) != 3:
            raise RunError(f"the integer model's tensor linear.{name} has another shape than {expected}; {REMEDY}")
    limits = {"prior_scale": SCALES - 1, "scale": SCALES - 1, "coefficient": 1 << LINEAR_BITS}
    for name, most in limits.items():
        table = getattr(linear, name)
        if int(table.min()) < 0 or int(table.max()) > most:
            raise RunError(f"the integer model's tensor linear.{name} has values outside 0..{most}; {REMEDY}")
    if int(linear.mean.abs().max()) >= linear.levels or linear.levels > 256:
        raise RunError(f"the integer model's tensor linear.mean does not fit {linear.levels} levels; {REMEDY}")
    if shape[0] != chain.channels or any(side % 2**chain.halvings for side in shape[1:]):
        raise RunError(f"the integer model is for images {shape}, which its network does not take; {REMEDY}")


def _taken(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> Tensor:
    found = tensors[name]
    if found.dtype != dtype or found.numel() == 0:
        raise RunError(f"the integer model's tensor {name} is {found.dtype} {tuple(found.shape)}; {REMEDY}")
    return found
