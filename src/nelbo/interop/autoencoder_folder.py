"""Folders of diffusers' `AutoencoderKL`: read as the autoencoder of a run, and written from one."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.files import write_bytes, write_json
from nelbo.interop.autoencoder_config import AutoencoderConfig, config_of, options_of
from nelbo.interop.pipeline import UNET, VERSION
from nelbo.interop.settings import read_settings, record_of
from nelbo.interop.weight_files import WEIGHTS, find_weights
from nelbo.interop.weights import AUTOENCODER_LAYERS, read_weights, renamed, to_diffusers
from nelbo.latent import Autoencoder, LatentScale, LatentSpace

CLASS = "AutoencoderKL"
HOMES = ("", "vae", "vqvae")
OF_SCALES = "log_scale."
NO_SCALES = (
    "diffusers has no scale of p(x|z): a training that takes this autoencoder measures one scale, and the mean and the "
    "variance of the latents, on its own images"
)


def home_of(folder: Path) -> Path | None:
    """Return where a folder holds an `AutoencoderKL`: itself, or the part of a pipeline; None if it has none."""
    for name in HOMES:
        path = folder / name / UNET
        if path.is_file() and read_settings(path).get("_class_name") == CLASS:
            return folder / name
    return None


def read_autoencoder(home: Path) -> LatentSpace:
    """Read an `AutoencoderKL` and the scale of its latents.

    Raises:
        RunError: a file is missing or damaged, or the weights are pickled.
        ConfigurationError: a setting that nelbo does not support, or that is unknown.
        NonFiniteError: a weight is NaN or infinite.
    """
    try:
        config: AutoencoderConfig = record_of(AutoencoderConfig, read_settings(home / UNET))
        options = options_of(config)
    except ConfigurationError as error:
        raise ConfigurationError(f"{home / UNET}: {error.marked}") from error
    theirs: dict[str, Tensor] = {}
    for path in find_weights(home).paths:
        theirs |= read_weights(path)
    autoencoder = Autoencoder(options)
    scale = {name: value for name, value in autoencoder.state_dict().items() if name.startswith(OF_SCALES)}
    expected = {name: value for name, value in autoencoder.state_dict().items() if name not in scale}
    autoencoder.load_state_dict({**renamed(expected, theirs, AUTOENCODER_LAYERS), **scale})
    return LatentSpace(autoencoder.eval().requires_grad_(False), _scale_of(config))


def write_autoencoder(space: LatentSpace, home: Path) -> None:
    """Write a folder that `diffusers.AutoencoderKL.from_pretrained` reads; its latents have unit variance."""
    weights = {name: value for name, value in space.autoencoder.state_dict().items() if not name.startswith(OF_SCALES)}
    theirs = to_diffusers(_in_scaled_latents(weights, space.scale), AUTOENCODER_LAYERS)
    settings = asdict(config_of(space.autoencoder.options))
    write_json(home / UNET, {"_class_name": CLASS, "_diffusers_version": VERSION, **settings})
    plain = {name: weight.detach().cpu().contiguous() for name, weight in theirs.items()}
    write_bytes(home / WEIGHTS, save(plain, metadata={"format": "pt"}))


def _in_scaled_latents(weights: Mapping[str, Tensor], scale: LatentScale) -> dict[str, Tensor]:
    """Fold the scaling into the 1x1 convolutions beside z: the encoder then gives u, and the decoder takes it."""
    mean, stddev = (each.flatten().double() for each in (scale.mean, scale.stddev))
    factor, shift = torch.cat([1 / stddev, torch.ones_like(stddev)]), torch.cat([-mean / stddev, -2 * stddev.log()])
    w, b = (weights[f"encoder.moments.{kind}"].double() for kind in ("weight", "bias"))
    moments = {"encoder.moments.weight": factor[:, None, None, None] * w, "encoder.moments.bias": factor * b + shift}
    w, b = (weights[f"decoder.latents.{kind}"].double() for kind in ("weight", "bias"))
    latents = {
        "decoder.latents.weight": w * stddev[None, :, None, None],
        "decoder.latents.bias": b + w[:, :, 0, 0] @ mean,
    }
    return {**weights, **{name: value.float() for name, value in {**moments, **latents}.items()}}


def _scale_of(config: AutoencoderConfig) -> LatentScale:
    """Return the scale of the latents that the settings state: u = (z - mean) factor / stddev."""
    num = config.latent_channels
    mean = torch.tensor(config.latents_mean or (config.shift_factor or 0.0,) * num, dtype=torch.float32)
    stddev = torch.tensor(config.latents_std or (1.0,) * num, dtype=torch.float32) / config.scaling_factor
    return LatentScale(mean[:, None, None], stddev[:, None, None])
