"""The metrics as TensorBoard scalars; needs the extra `nelbo[tensorboard]`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nelbo.errors import ConfigurationError, option


def tensorboard_log(folder: Path) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that writes a line of the metrics to `folder`; a list becomes one scalar per entry.

    Raises:
        ConfigurationError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigurationError(
            f"{option('tensorboard')} needs the package tensorboard; install it by `pip install nelbo[tensorboard]`."
        ) from error
    writer = SummaryWriter(str(folder))

    def log(record: Mapping[str, Any]) -> None:
        for name, value in record.items():
            entries = {f"{name}/{i + 1}": v for i, v in enumerate(value)} if isinstance(value, list) else {name: value}
            for tag, number in entries.items():
                if name != "step" and isinstance(number, int | float):
                    writer.add_scalar(tag, number, record["step"])
        writer.flush()

    return log
