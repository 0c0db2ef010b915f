"""A run folder, or the name of a bundled model, becomes a model that is ready for use: `nelbo.load("runs/x")`."""

import os
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from nelbo.errors import ConfigurationError, RunError
from nelbo.files import misfits, read_tensors
from nelbo.recipes.assembly import build_network, build_schedule
from nelbo.recipes.recipe import Recipe
from nelbo.runs.diffusion_run import CALIBRATION, DiffusionRun
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE, RunConfig, find_run, read_config
from nelbo.runs.run import Run
from nelbo.runs.vae_run import VAERun
from nelbo.vae import VAE

Kind = TypeVar("Kind", bound=Run)
KINDS: dict[type[Run], str] = {DiffusionRun: "a diffusion model", VAERun: "a variational autoencoder"}


def load(name: str | os.PathLike[str], *, device: str | None = None) -> DiffusionRun | VAERun:
    """A run by its folder, or a bundled model by its name, on `device` or else the best one there is.

    Returns:
        A `DiffusionRun` or a `VAERun`.

    Raises:
        RunError: no such run, no weights in it, or damaged ones.
    """
    folder = find_run(name)
    config = read_config(folder)
    tensors, _ = read_tensors(folder / MODEL_FILE)
    with torch.device("meta"):
        network = build_network(config.recipe)
    weights = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    if told := misfits(network.state_dict(), weights):
        raise RunError(f"{folder / MODEL_FILE} does not fit {folder / CONFIG_FILE}: {told}.")
    network.load_state_dict(weights, assign=True)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(
            f"--device {device} cannot be used here ({error}); `nelbo info` lists them."
        ) from error
    if torch.device(device).type == "meta":
        raise ConfigurationError("--device meta computes nothing; leave --device out, or see `nelbo info`.")
    return run_of(folder, config, network, tensors.get(CALIBRATION))


def load_as(kind: type[Kind], name: str | os.PathLike[str], *, device: str | None = None) -> Kind:
    """`load`, for what only one kind of model can do.

    Raises:
        ConfigurationError: the run is of another kind.
    """
    run = load(name, device=device)
    if not isinstance(run, kind):
        raise ConfigurationError(f"{name} is {KINDS[type(run)]}, and only {KINDS[kind]} can do this.")
    return run


def run_of(folder: Path, config: RunConfig, network: nn.Module, mse: Tensor | None = None) -> DiffusionRun | VAERun:
    """A network at hand as a run of its kind, in evaluation mode."""
    network = network.eval().requires_grad_(False)
    if isinstance(network, VAE):
        return VAERun(folder, config, network)
    assert isinstance(config.recipe, Recipe)
    schedule = build_schedule(config.recipe.schedule).to(next(network.parameters()).device)
    return DiffusionRun(folder, config, network, schedule, mse)
