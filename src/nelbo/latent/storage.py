"""The tensors of a latent space, as a file stores them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, RunError
from nelbo.files import fingerprint, misfits
from nelbo.latent.autoencoder import Autoencoder
from nelbo.latent.options import AutoencoderOptions
from nelbo.latent.scale import LatentScale
from nelbo.latent.space import LatentSpace
from nelbo.options import options_from

NETWORK, SCALE = "network.", "scale."
REMEDY = "restore the file from a copy."


def tensors_of(space: LatentSpace) -> dict[str, Tensor]:
    """Return the weights and the scale by name."""
    weights = {NETWORK + name: value for name, value in space.autoencoder.state_dict().items()}
    return {**weights, f"{SCALE}mean": space.scale.mean, f"{SCALE}stddev": space.scale.stddev}


def settings_of(space: LatentSpace) -> dict[str, Any]:
    """Return the options of the autoencoder as plain values."""
    return asdict(space.autoencoder.options)


def options_of(settings: Mapping[str, Any]) -> AutoencoderOptions:
    """Return the options from the output of `settings_of`.

    Raises:
        RunError: they are damaged.
    """
    try:
        return options_from(AutoencoderOptions, settings)
    except (ConfigurationError, TypeError, ValueError) as error:
        text = error.marked if isinstance(error, ConfigurationError) else repr(error)
        raise RunError(f"the options of the autoencoder are damaged: {text}; {REMEDY}") from error


def fingerprint_of(space: LatentSpace) -> str:
    """Return 64 hexadecimal digits of SHA-256 over the options and the tensors of a space."""
    return fingerprint(settings_of(space), tensors_of(space)).hex()


def space_from(options: AutoencoderOptions, tensors: Mapping[str, Tensor]) -> LatentSpace:
    """Build a space, in evaluation mode, from its options and the output of `tensors_of`.

    Raises:
        RunError: a tensor is missing, superfluous or of another shape.
    """
    with torch.device("meta"):
        autoencoder = Autoencoder(options)
    weights = {name.removeprefix(NETWORK): value for name, value in tensors.items() if name.startswith(NETWORK)}
    if problem := misfits(autoencoder.state_dict(), weights):
        raise RunError(f"the autoencoder does not fit its options: {problem}; {REMEDY}")
    scales = [tensors.get(f"{SCALE}{name}") for name in ("mean", "stddev")]
    if any(scale is None or scale.shape != (options.latent, 1, 1) for scale in scales):
        raise RunError(f"the scale of the latents is missing or of another shape; {REMEDY}")
    autoencoder.load_state_dict(weights, assign=True)
    mean, stddev = scales
    assert mean is not None and stddev is not None
    return LatentSpace(autoencoder.eval().requires_grad_(False), LatentScale(mean, stddev))
