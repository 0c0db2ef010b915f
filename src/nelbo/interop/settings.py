"""Configuration files of other libraries: JSON read into a record, and unsupported settings refused by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nelbo.errors import ConfigurationError, RunError
from nelbo.files import refuse_pointer
from nelbo.options import record_from


class Accepted:
    """The values of a setting that nelbo supports.

    Attributes:
        values: the supported values.
        why: why others are refused, if the message needs a reason.
    """

    def __init__(self, *values: object, why: str = "") -> None:
        self.values = values
        self.why = why


def refuse_others(accepted: Mapping[str, Accepted], settings: Mapping[str, Any]) -> None:
    """Check that each setting has one of its accepted values.

    Raises:
        ConfigurationError: one has another value; the message names it.
    """
    for name, choice in accepted.items():
        if name in settings and settings[name] not in choice.values:
            choices = " or ".join(json.dumps(value) for value in choice.values)
            why = f": {choice.why}" if choice.why else ""
            raise ConfigurationError(
                f"{name} is {json.dumps(settings[name])}, which nelbo does not support{why}; expected {choices}."
            )


def read_settings(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file.

    Raises:
        RunError: the file holds none, or cannot be read.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        refuse_pointer(path)
        raise RunError(f"{path} cannot be read ({error}); expected a JSON object.") from error
    if not isinstance(plain, dict):
        raise RunError(f"{path} does not hold a JSON object.")
    return plain


def record_of(kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """Read settings as a record, without the metadata of diffusers (names that begin with _).

    Raises:
        ConfigurationError: a setting is unknown, or of another type.
    """
    return record_from(kind, {name: value for name, value in settings.items() if not name.startswith("_")})
