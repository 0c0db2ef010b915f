"""A run folder: config.json, model.safetensors, the training state, the metrics and the pictures."""

import difflib
import json
import os
from collections.abc import Mapping, Set
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from nelbo.data import absolute_spec
from nelbo.errors import ConfigurationError, RunError
from nelbo.files import write_json
from nelbo.options import record_from
from nelbo.recipes.recipe import AnyRecipe, recipe_from_json

MOST_LISTED = 12
CONFIG_FILE, MODEL_FILE = "config.json", "model.safetensors"
UNKNOWN_DATA = "unknown"  # the `spec` of a model that came without its images
# What may differ when a run goes on: the budgets, by which a learning rate that decays goes too, and conveniences that
# leave the mathematics of a step as they are.
MAY_CHANGE = {
    "training.steps",
    "training.minutes",
    "training.workers",
    "training.compile",
    "training.micro_batch",
    "training.log_every",
    "training.save_every",
    "training.save_minutes",
    "training.preview_every",
}


@dataclass(frozen=True)
class DataOptions:
    """Which images a run was trained on, and what they were like.

    Attributes:
        spec: what was given as --data, a path made absolute; `UNKNOWN_DATA` of a model that was imported.
        size, mode, held_out: how it was read.
        shape: (C, H, W); levels: K.
        num_train, num_held_out: how many images each part has.
        class_names: by label.
    """

    spec: str
    shape: tuple[int, int, int]
    levels: int
    num_train: int
    num_held_out: int
    size: int | None = None
    mode: str | None = None
    held_out: float | None = None
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunConfig:
    """`config.json`: the recipe, the data, and the version that wrote it."""

    recipe: AnyRecipe
    data: DataOptions
    preset: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "nelbo": version("nelbo"),
            "preset": self.preset,
            "data": {**vars(self.data)},
            **self.recipe.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "RunConfig":
        """The inverse of `to_json`."""
        rest = {key: value for key, value in plain.items() if key not in ("nelbo", "preset", "data")}
        return cls(recipe_from_json(rest), record_from(DataOptions, plain["data"]), plain["preset"])

    def save(self, folder: Path) -> None:
        """Write config.json."""
        write_json(folder / CONFIG_FILE, self.to_json())


def read_config(folder: Path) -> RunConfig:
    """The configuration of a run folder.

    Raises:
        RunError: there is none, or it can't be read.
    """
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise RunError(f"{folder} is no run folder: {CONFIG_FILE} is missing; expected a folder made by `nelbo train`.")
    try:
        return RunConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise RunError(
            f"{path} cannot be read ({what}); restore it from a copy, or train into a new folder."
        ) from error


def refuse_differences(folder: Path, old: RunConfig, new: RunConfig) -> None:
    """Check that a run that goes on is the run that began.

    Raises:
        RunError: a setting differs that would change the model or its steps; all such are listed.
    """
    # runs of earlier versions hold their path as it was typed
    before, after = (_flat(config.to_json()) | {"data.spec": absolute_spec(config.data.spec)} for config in (old, new))
    refuse_changes(folder, "a run", before, after, MAY_CHANGE | {"nelbo"})


def refuse_changes(
    folder: Path, what: str, old: Mapping[str, Any], new: Mapping[str, Any], may_change: Set[str] = frozenset()
) -> None:
    """Check that what goes on in a folder is what began there.

    Args:
        what: that is in the folder, such as "a run".
        old, new: its settings there and those given now.
        may_change: dotted names that may differ.

    Raises:
        RunError: another setting differs; all such are listed.
    """
    before, after = _flat(old), _flat(new)
    changed = [
        f"{name}: {before.get(name)!r} there, {after.get(name)!r} given"
        for name in sorted(before.keys() | after.keys())
        if name not in may_change and before.get(name) != after.get(name)
    ]
    if changed:
        more = [f"and {len(changed) - MOST_LISTED} more"] if len(changed) > MOST_LISTED else []
        listed = "; ".join(changed[:MOST_LISTED] + more)
        raise RunError(
            f"{folder} holds {what} of another configuration ({listed}); give the same settings to go on, or another "
            "folder by --out."
        )


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names; lists as JSON would hold them."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def bundled_models() -> dict[str, Path]:
    """The models that come with the package, by name."""
    root = Path(str(files("nelbo") / "models"))
    return {path.name: path for path in sorted(root.glob("*")) if (path / CONFIG_FILE).is_file()}


def find_run(name: str | os.PathLike[str]) -> Path:
    """The folder of a run: a path, or the name of a bundled model (a path goes first).

    Raises:
        RunError: neither; the nearest bundled name is suggested.
    """
    path, bundled = Path(name), bundled_models()
    if path.is_dir():
        return path
    if str(name) in bundled:
        return bundled[str(name)]
    near = difflib.get_close_matches(str(name), bundled, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RunError(
        f"there is no run folder or bundled model {str(name)!r}; {hint}expected a folder made by `nelbo train`, or one "
        f"of the bundled models ({', '.join(bundled) or 'none'})."
    )
