"""Load a run folder, or a bundled model by name, ready for use: `nelbo.load("runs/x")`."""

import os
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from nelbo.errors import ConfigurationError, RunError, option, shown
from nelbo.files import misfits, read_tensors
from nelbo.recipes.assembly import build_network
from nelbo.recipes.families import FAMILIES
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.folder import CONFIG_FILE, MODEL_FILE, RunConfig, find_run, read_config
from nelbo.runs.latent_run import LatentRun
from nelbo.runs.run import Run
from nelbo.runs.vae_run import VAERun

Kind = TypeVar("Kind", bound=Run)
AnyRun = DiffusionRun | LatentRun | VAERun
RUNS: dict[str, type[DiffusionRun] | type[LatentRun] | type[VAERun]] = {
    kind.family: kind for kind in (DiffusionRun, LatentRun, VAERun)
}


def load(name: str | os.PathLike[str], *, device: str | torch.device | None = None) -> AnyRun:
    """Load a run by its folder, or a bundled model by its name.

    Args:
        device: such as "cpu" or "cuda", or a `torch.device`; the best one there is if None.

    Raises:
        RunError: there is no such run, or its weights are missing or damaged.
        ConfigurationError: the device cannot be used.
    """
    folder = find_run(name)
    place = _checked(device)
    config = read_config(folder)
    tensors, _ = read_tensors(folder / MODEL_FILE)
    with torch.device("meta"):
        network = build_network(config.recipe)
    weights = {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
    if problem := misfits(network.state_dict(), weights):
        raise RunError(f"{folder / MODEL_FILE} does not fit {folder / CONFIG_FILE}: {problem}.")
    network.load_state_dict(weights, assign=True)
    try:
        network = network.to(place)
    except (RuntimeError, AssertionError, ValueError, ImportError) as error:
        reason = str(error).partition("\n")[0].partition(". ")[0].rstrip(".")
        raise ConfigurationError(
            f"{option('device', place)} cannot be used here ({reason}); `nelbo info` lists the devices."
        ) from error
    if torch.device(place).type == "meta":
        raise ConfigurationError(
            f"{option('device', 'meta')} computes nothing; remove it, or choose a device that `nelbo info` lists."
        )
    return run_of(folder, config, network, tensors)


def _checked(device: str | torch.device | int | None) -> str | torch.device | int:
    """Return a device, the best one there is if None, without asking torch whether it exists.

    Raises:
        ConfigurationError: something else than a name, a `torch.device` or the number of a GPU.
    """
    if device is None or (isinstance(device, str) and not device):
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(device, str | torch.device | int) or isinstance(device, bool):
        raise ConfigurationError(
            f"{option('device')} is {shown(device)}; expected the name of a device, such as 'cpu' or 'cuda', or None."
        )
    return device


def load_as(kind: type[Kind], name: str | os.PathLike[str], *, device: str | torch.device | None = None) -> Kind:
    """Load a run for a task that only one family of models can do.

    Raises:
        ConfigurationError: the run is of another family.
    """
    run: Run = load(name, device=device)
    if not isinstance(run, kind):
        given, needed = (FAMILIES[family].in_words for family in (run.family, kind.family))
        raise ConfigurationError(f"{name} is {given}; this needs {needed}.")
    return run


def run_of(folder: Path, config: RunConfig, network: nn.Module, extras: dict[str, Tensor] | None = None) -> AnyRun:
    """Return a network as a run of its family, in evaluation mode.

    Args:
        extras: the tensors that `Run.extras` returned when the run was saved.
    """
    network = network.eval().requires_grad_(False)
    return RUNS[config.recipe.family].of(folder, config, network, extras or {})
