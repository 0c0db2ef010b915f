"""Weights of diffusers' `UNet2DModel` and `AutoencoderKL` and ours: the same maps with other names."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import torch
from torch import Tensor

from nelbo.errors import NonFiniteError, RunError
from nelbo.files import misfits, refuse_pointer
from nelbo.networks import UNet, UNetOptions
from nelbo.networks.layers import frequencies

Layers = Sequence[tuple[str, str]]
LAYERS = [  # layer names: ours -> diffusers'; {0}, {1}, ... are the matched groups
    (r"input", "conv_in"),
    (r"norm", "conv_norm_out"),
    (r"output", "conv_out"),
    (r"condition\.label", "class_embedding"),
    (r"condition\.time\.0", "time_embedding.linear_1"),
    (r"condition\.time\.2", "time_embedding.linear_2"),
    (r"(down|up)\.(\d+)\.(\d+)\.residual\.(\w+)", "{0}_blocks.{1}.resnets.{2}.{3}"),
    (r"(down|up)\.(\d+)\.(\d+)\.attention\.(\w+)", "{0}_blocks.{1}.attentions.{2}.{3}"),
    (r"(down|up)sample\.(\d+)\.conv", "{0}_blocks.{1}.{0}samplers.0.conv"),
    (r"middle\.(\d)\.residual\.(\w+)", "mid_block.resnets.{0}.{1}"),
    (r"middle\.0\.attention\.(\w+)", "mid_block.attentions.0.{0}"),
]
AUTOENCODER_LAYERS = [  # of an `AutoencoderKL`
    (r"encoder\.moments", "quant_conv"),
    (r"decoder\.latents", "post_quant_conv"),
    (r"(encoder|decoder)\.input", "{0}.conv_in"),
    (r"(encoder|decoder)\.norm", "{0}.conv_norm_out"),
    (r"(encoder|decoder)\.output", "{0}.conv_out"),
    (r"(encoder|decoder)\.(down|up)\.(\d+)\.(\d+)\.(\w+)", "{0}.{1}_blocks.{2}.resnets.{3}.{4}"),
    (r"(encoder|decoder)\.(down|up)sample\.(\d+)\.conv", "{0}.{1}_blocks.{2}.{1}samplers.0.conv"),
    (r"(encoder|decoder)\.middle\.0\.(\w+)", "{0}.mid_block.resnets.0.{1}"),
    (r"(encoder|decoder)\.middle\.1\.(\w+)", "{0}.mid_block.attentions.0.{1}"),
    (r"(encoder|decoder)\.middle\.2\.(\w+)", "{0}.mid_block.resnets.1.{1}"),
]
RESIDUAL = {"condition": "time_emb_proj", "shortcut": "conv_shortcut"}
ATTENTION = {"norm": "group_norm", "output": "to_out.0"}
STACKED, PARTS = "query_key_value", ("to_q", "to_k", "to_v")
FORMER = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # before diffusers 0.12
WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.)+|(?<=\.)_orig_mod\.")  # of DistributedDataParallel and torch.compile
CLOCK = "condition.time.0.weight"


def names_there(ours: str, layers: Layers = LAYERS) -> tuple[str, ...]:
    """Return diffusers' names of a weight of ours; our stacked attention maps are three weights there."""
    layer, _, kind = ours.rpartition(".")
    for pattern, replacement in layers:
        if match := re.fullmatch(pattern, layer):
            inner = ATTENTION if ".attentions." in replacement else RESIDUAL
            theirs = replacement.format(*(inner.get(group, group) for group in match.groups()))
            parts = PARTS if theirs.endswith(STACKED) else ("",)
            return tuple(f"{theirs.removesuffix(STACKED) + part if part else theirs}.{kind}" for part in parts)
    raise ValueError(f"{ours} is not a weight of this network")


def to_diffusers(ours: Mapping[str, Tensor], layers: Layers = LAYERS) -> dict[str, Tensor]:
    """Convert our weights to diffusers' names."""
    theirs: dict[str, Tensor] = {}
    for name, weight in ours.items():
        names = names_there(name, layers)
        theirs |= dict(zip(names, weight.chunk(len(names)), strict=True))
    return theirs


def from_diffusers(network: UNet, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert diffusers' weights to our names, for a U-Net of the same shapes on any device; see `renamed`."""
    return renamed(network.state_dict(), theirs, LAYERS)


def renamed(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], layers: Layers) -> dict[str, Tensor]:
    """Convert diffusers' weights to our names.

    The prefixes that `torch.compile` and `DistributedDataParallel` add to the names are removed.

    Args:
        ours: weights of the same names and shapes as the result, on any device, including "meta".
        theirs: the weights to convert.
        layers: the names of the layers.

    Raises:
        RunError: weights are missing, superfluous or of another shape; the message names the first of each kind.
    """
    named = {_current(name): weight for name, weight in theirs.items()}
    if len(named) < len(theirs):
        raise RunError(f"it holds {len(theirs) - len(named)} weights twice, with and without a prefix of their names.")
    theirs = named
    expected = to_diffusers(ours, layers)
    if differences := misfits(expected, theirs):
        raise RunError(f"its weights do not match its config.json: {differences}.")
    return {name: torch.cat([theirs[part] for part in names_there(name, layers)]) for name in ours}


def swap_sines(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convert weights that expect [sin, cos] of the time to weights that expect [cos, sin], or the reverse."""
    first, second = weights[CLOCK].chunk(2, dim=1)
    return {**weights, CLOCK: torch.cat([second, first], dim=1)}


def set_clock(weights: Mapping[str, Tensor], options: UNetOptions, ahead: int) -> dict[str, Tensor]:
    """Convert weights for sinusoids of k + `ahead` to weights for sinusoids of k.

    From k to k + `ahead`, each pair sin(kw), cos(kw) rotates by the angle `ahead` * w. The first linear map of the time
    embedding absorbs this rotation.
    """
    angle = ahead * frequencies(options.base, options.frequency_shift).double()
    sines, cosines = weights[CLOCK].double().chunk(2, dim=1)
    turned = [sines * angle.cos() - cosines * angle.sin(), sines * angle.sin() + cosines * angle.cos()]
    return {**weights, CLOCK: torch.cat(turned, dim=1).to(weights[CLOCK].dtype)}


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file as float32.

    Raises:
        RunError: the file is missing, truncated or damaged, or holds a tensor that is not floating-point.
        NonFiniteError: a weight is NaN or infinite.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        refuse_pointer(path)
        raise RunError(f"{path} is damaged or cut short ({error}); download it again.") from error
    for name, weight in weights.items():
        if not weight.is_floating_point():
            raise RunError(f"{path} holds {name} in {weight.dtype}; expected floating-point weights.")
        if not bool(weight.isfinite().all()):
            raise NonFiniteError(f"{path} holds NaN or infinity in {name}; download it again, or ask its author.")
    return {name: weight.float() for name, weight in weights.items()}


def _current(name: str) -> str:
    """Return a weight's name in current diffusers; the attention maps had other names before 0.12."""
    name = WRAPPERS.sub("", name)
    path, _, kind = name.rpartition(".")
    layer, _, last = path.rpartition(".")
    return f"{layer}.{FORMER[last]}.{kind}" if ".attentions." in name and last in FORMER else name
