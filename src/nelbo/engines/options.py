"""Which engine does the work, as one record that checks itself. No torch is imported here."""

from dataclasses import dataclass
from typing import Annotated

from nelbo.errors import ConfigurationError, option
from nelbo.options import Doc, check_types, check_whole, known

PROCESS, RAY = "process", "ray"
ENGINES = (PROCESS, RAY)
PART_SIZE = 1024  # images


@dataclass(frozen=True)
class EngineOptions:
    """The engine that scores or packs many images. Every engine gives the same results.

    Raises:
        ConfigurationError: an unknown engine, or an option that the engine does not have.
    """

    engine: Annotated[
        str,
        Doc("Engine: process (this process, the default), or ray (worker processes on this machine or a cluster)."),
    ] = PROCESS
    workers: Annotated[
        int | None,
        Doc("With the engine ray: number of workers, each with one copy of the model; by default one per processor."),
    ] = None
    address: Annotated[
        str | None,
        Doc(
            "With the engine ray: address of a running Ray cluster, such as auto or HOST:6379. By default, Ray starts "
            "on this machine and stops at the end."
        ),
    ] = None
    gpus: Annotated[
        float | None, Doc("With the engine ray: number of GPUs for each worker, such as 1 or 0.5; 0 by default.")
    ] = None

    def __post_init__(self) -> None:
        known(self.engine, ENGINES, "engine")
        check_types(self)
        given = [name for name in ("workers", "address", "gpus") if getattr(self, name) is not None]
        if given and self.engine != RAY:
            listed, needed = ", ".join(option(name) for name in given), option("engine", RAY)
            raise ConfigurationError(f"only the engine ray has {listed}; give {needed} too, or leave it out.")
        if self.workers is not None:
            check_whole("workers", self.workers)
        if self.gpus is not None and self.gpus < 0:
            raise ConfigurationError(f"{option('gpus')} is {self.gpus}; expected 0 or more.")
