"""A foreign configuration file: JSON read into a record, and settings that are refused by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nelbo.errors import ConfigurationError, RunError
from nelbo.options import record_from


class Accepted:
    """The values of a setting that mean what nelbo does.

    Attributes:
        values: any of these.
        why: others are refused, where it takes words.
    """

    def __init__(self, *values: object, why: str = "") -> None:
        self.values = values
        self.why = why


def refuse_others(accepted: Mapping[str, Accepted], settings: Mapping[str, Any]) -> None:
    """Check that each setting has one of its accepted values.

    Raises:
        ConfigurationError: one has not.
    """
    for name, choice in accepted.items():
        if name in settings and settings[name] not in choice.values:
            choices = " or ".join(json.dumps(value) for value in choice.values)
            why = f": {choice.why}" if choice.why else ""
            raise ConfigurationError(
                f"{name} is {json.dumps(settings[name])}, of which nelbo has no counterpart{why}; it can read "
                f"{choices}."
            )


def read_settings(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: there is none, or it can't be read.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path} cannot be read ({error}); expected a JSON object.") from error
    if not isinstance(plain, dict):
        raise RunError(f"{path} holds no JSON object.")
    return plain


def record_of(kind: type[Any], settings: Mapping[str, Any]) -> Any:
    """Settings as a record, without what diffusers notes of itself (names that begin with _).

    Raises:
        ConfigurationError: a setting that isn't known, or is of another type.
    """
    return record_from(kind, {name: value for name, value in settings.items() if not name.startswith("_")})
