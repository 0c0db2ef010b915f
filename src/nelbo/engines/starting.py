"""Start an engine by its name and options."""

from collections.abc import Iterator
from contextlib import contextmanager

from nelbo.engines.engine import Engine, ProcessEngine
from nelbo.engines.options import RAY, EngineOptions


@contextmanager
def open_engine(options: EngineOptions | str) -> Iterator[Engine]:
    """Start an engine, and stop it at the end.

    Args:
        options: its options, or its name.

    Raises:
        ConfigurationError: its package is not installed, or it cannot be reached.
    """
    if isinstance(options, str):
        options = EngineOptions(options)
    if options.engine != RAY:
        yield ProcessEngine()
        return
    from nelbo.engines.ray_engine import ray_engine  # Ray takes a second to import

    with ray_engine(options) as engine:
        yield engine
