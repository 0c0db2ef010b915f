"""The libraries that are compared, by name: how each one trains a model, and how its model is sampled by nelbo."""

from importlib.util import find_spec
from typing import Protocol

from benchmarks.quality.clock import Trained
from benchmarks.quality.ddpm_pytorch import DdpmPytorch
from benchmarks.quality.diffusers_model import Diffusers
from benchmarks.quality.nelbo_model import Nelbo
from benchmarks.quality.plan import DDPM_PYTORCH, DIFFUSERS, NELBO, Job
from nelbo.data import Split
from nelbo.errors import ConfigurationError
from nelbo.runs import DataOptions, DiffusionRun


class Library(Protocol):
    """A library that trains models.

    Attributes:
        packages: the packages that it needs, by the names of their modules.
    """

    @property
    def packages(self) -> tuple[str, ...]: ...

    def train(self, job: Job, split: Split) -> Trained | None:
        """Train or resume a job in its folder; return None if a signal stopped the training."""

    def load(self, job: Job, data: DataOptions) -> DiffusionRun:
        """Return the finished model of a job, for images as `data` describes them."""


LIBRARIES: dict[str, Library] = {NELBO: Nelbo(), DIFFUSERS: Diffusers(), DDPM_PYTORCH: DdpmPytorch()}


def require(library: str) -> None:
    """Check that the packages of a library are installed.

    Raises:
        ConfigurationError: one is missing; the message says how to install it.
    """
    missing = [name for name in LIBRARIES[library].packages if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"{library} cannot be measured, because {', '.join(missing)} is missing; `make quality` installs it and "
            "runs this benchmark, or name the models without it in --models."
        )
