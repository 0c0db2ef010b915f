"""The autoencoder of a latent diffusion model in its run folder."""

from pathlib import Path

from nelbo.errors import RunError
from nelbo.files import read_metadata, read_tensors, write_tensors
from nelbo.latent import AutoencoderOptions, LatentSpace
from nelbo.latent.storage import fingerprint_of, options_of, settings_of, space_from, tensors_of

AUTOENCODER_FILE = "autoencoder.safetensors"


def save_space(space: LatentSpace, folder: Path) -> None:
    """Write a finished autoencoder and the scale of its latents into a run folder."""
    stated = {"settings": settings_of(space), "fingerprint": fingerprint_of(space)}
    write_tensors(folder / AUTOENCODER_FILE, tensors_of(space), stated)


def stored_options(folder: Path) -> AutoencoderOptions:
    """Return the options of the autoencoder in a run folder, without its weights.

    Raises:
        RunError: there is none, or its file is damaged.
    """
    path = folder / AUTOENCODER_FILE
    if not path.is_file():
        raise RunError(f"{folder} has no finished autoencoder; expected the folder of a latent diffusion model.")
    try:
        return options_of(read_metadata(path).get("settings", {}))
    except RunError as error:
        raise RunError(f"{path}: {error.marked}") from error


def load_space(folder: Path) -> LatentSpace:
    """Read the autoencoder of a run folder, in evaluation mode, onto the CPU.

    Raises:
        RunError: there is none, or its file is damaged.
    """
    path, options = folder / AUTOENCODER_FILE, stored_options(folder)
    tensors, metadata = read_tensors(path)
    try:
        space = space_from(options, tensors)
    except RunError as error:
        raise RunError(f"{path}: {error.marked}") from error
    if fingerprint_of(space) != metadata.get("fingerprint"):
        raise RunError(f"{path} is damaged: its tensors do not match its fingerprint; restore the file from a copy.")
    return space
