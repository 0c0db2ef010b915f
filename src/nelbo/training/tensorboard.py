"""The metrics as TensorBoard scalars; needs the extra `nelbo[tensorboard]`."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from nelbo.errors import ConfigurationError, RunError, option
from nelbo.files import reason


def tensorboard_log(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that writes a line of the metrics to `folder`; a list becomes one scalar per entry.

    The folder is made with the first line, when the run folder has its configuration.

    Raises:
        ConfigurationError: TensorBoard is not installed.
        RunError: by the function, if the folder cannot be written.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigurationError(
            f"{option('tensorboard')} needs the package tensorboard; install it by `pip install nelbo[tensorboard]`."
        ) from error
    begun = cache(lambda: SummaryWriter(str(folder)))

    def log(record: Mapping[str, Any]) -> None:
        try:
            _write(begun(), record)
        except OSError as error:
            raise RunError(f"{folder} could not be written: {reason(error)}.") from error

    return log


def _write(writer: Any, record: Mapping[str, Any]) -> None:
    """Write the numbers of a line of the metrics with a `SummaryWriter`."""
    for name, value in record.items():
        entries = {f"{name}/{i + 1}": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
        for tag, number in entries.items():
            if name != "step" and isinstance(number, int | float):
                writer.add_scalar(tag, number, record["step"])
    writer.flush()
