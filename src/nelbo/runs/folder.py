"""A run folder and its config.json: read, written, compared, and found by name."""

import difflib
import json
import os
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from nelbo.data import absolute_spec
from nelbo.display import Displayed
from nelbo.errors import ConfigurationError, RunError, option, setting, shown
from nelbo.files import refuse_pointer, write_json
from nelbo.options import record_from
from nelbo.paths import expanded
from nelbo.recipes.recipe import AnyRecipe
from nelbo.recipes.stored import recipe_from_json
from nelbo.runs.data_options import READING, UNKNOWN_DATA, DataOptions

MOST_LISTED = 12
CONFIG_FILE, MODEL_FILE, MASKING_FILE = "config.json", "model.safetensors", "masking.safetensors"
# What may differ when a run resumes: the budgets (a decaying learning rate follows them), and settings that do not
# change the mathematics of a step.
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
class RunConfig(Displayed):
    """`config.json`: the recipe, the data, and the version that wrote it."""

    recipe: AnyRecipe
    data: DataOptions
    preset: str

    def summary(self) -> Mapping[str, str]:
        """Return the data, the preset and the recipe."""
        return {**self.data.summary(), "preset": self.preset, **self.recipe.summary()}

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "nelbo": version("nelbo"),
            "preset": self.preset,
            "data": {**vars(self.data)},
            **self.recipe.to_json(),
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "RunConfig":
        """Build the configuration that `to_json` wrote."""
        rest = {key: value for key, value in plain.items() if key not in ("nelbo", "preset", "data")}
        return cls(recipe_from_json(rest), record_from(DataOptions, plain["data"]), plain["preset"])

    def save(self, folder: Path) -> None:
        """Write config.json."""
        write_json(folder / CONFIG_FILE, self.to_json())


def read_config(folder: Path) -> RunConfig:
    """Read the configuration of a run folder.

    Raises:
        RunError: it is missing or cannot be read.
    """
    path = folder / CONFIG_FILE
    try:
        return RunConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{folder} is not a run folder: {CONFIG_FILE} is missing; `nelbo train` makes one.") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}; check its permissions.") from error
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.marked}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        refuse_pointer(path)
        what = f"{error} is missing" if isinstance(error, KeyError) else error
        raise RunError(
            f"{path} cannot be read ({what}); restore it from a copy, or train into a new folder."
        ) from error


def refuse_differences(folder: Path, old: RunConfig, new: RunConfig) -> None:
    """Check that the settings given are those of the run in the folder.

    Raises:
        RunError: settings differ that would change the model or its steps; the message lists them.
    """
    # runs of earlier versions store the path as it was typed
    before, after = (_flat(config.to_json()) | {"data.spec": absolute_spec(config.data.spec)} for config in (old, new))
    unknown = set() if old.data.class_counts else {"data.class_counts"}  # runs of 0.1.0 do not store them
    unknown |= {"data.names"} if old.data.names is None else set()
    refuse_changes(folder, "a run", before, after, MAY_CHANGE | {"nelbo"} | unknown, _as_given)


def _as_given(name: str) -> str:
    """Name an entry of config.json by the option that sets it, if there is one."""
    part, _, own = name.partition(".")
    if name == "data.names":
        return f"names of the image files in {option('data')}"
    if part == "data":
        return option("data") if own == "spec" else option(own) if own in READING else name
    return option(name) if name == "preset" else name if name == "family" else setting(name)


def refuse_changes(
    folder: Path,
    what: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    may_change: Set[str] = frozenset(),
    named: Callable[[str], str] = str,
) -> None:
    """Check that settings given now equal those stored in a folder.

    Args:
        what: what the folder holds, such as "a run".
        old: the stored settings.
        new: the settings given now.
        may_change: dotted names that may differ.
        named: returns how a message names an entry.

    Raises:
        RunError: other settings differ; the message lists them.
    """
    before, after = _flat(old), _flat(new)
    changed = [
        f"{named(name)}: {before.get(name)!r} stored, {after.get(name)!r} given"
        for name in sorted(before.keys() | after.keys())
        if name not in may_change and before.get(name) != after.get(name)
    ]
    if changed:
        more = [f"and {len(changed) - MOST_LISTED} more"] if len(changed) > MOST_LISTED else []
        listed = "; ".join(changed[:MOST_LISTED] + more)
        raise RunError(
            f"{folder} holds {what} of another configuration ({listed}); give the same settings to resume, or choose "
            f"another folder by {option('out')}."
        )


def _flat(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings into dotted names; tuples become lists, as in JSON."""
    flat: dict[str, Any] = {}
    for key, value in plain.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = list(value) if isinstance(value, tuple) else value
    return flat


def why_not_calibrated(folder: Path, data: DataOptions) -> str:
    """Say why a run has no calibration, and what to do."""
    if data.spec == UNKNOWN_DATA:
        return f"{folder} was imported and is not calibrated; call `run.calibrate(images)` and `run.save()` in Python"
    return f"{folder} is not calibrated, {_because_unfinished(folder, data)}"


def why_no_decoder(folder: Path, data: DataOptions) -> str:
    """Say why a run lacks the pixel network of its decoder, and what to do."""
    if data.spec == UNKNOWN_DATA:
        return (
            f"the decoder of {folder} is not trained, and its images are not known here; finish the run where it was "
            "trained, and export it again"
        )
    return f"the decoder of {folder} is not trained, {_because_unfinished(folder, data)}"


def _because_unfinished(folder: Path, data: DataOptions) -> str:
    """Say that the training of a run is not finished, and how to finish it."""
    how = f"with `nelbo train --out {folder}`"
    if data.in_memory:
        how = f"in Python with the same images: `nelbo.train(images, {str(folder)!r})`"
    return f"because its training was stopped or is not finished; finish it {how}"


def bundled_models() -> dict[str, Path]:
    """Return the folders of the bundled models, by name."""
    return {path.name: path for path in sorted(_bundled().glob("*")) if (path / CONFIG_FILE).is_file()}


def bundled_codecs() -> dict[str, Path]:
    """Return the folders of the bundled models of photographs, by name."""
    return {path.name: path for path in sorted(_bundled().glob("*")) if codes_photographs(path)}


def _bundled() -> Path:
    return Path(str(files("nelbo") / "models"))


def codes_photographs(folder: Path) -> bool:
    """Whether a folder has a model of photographs, see `nelbo.runs.MaskingRun`."""
    return os.path.isfile(folder / MASKING_FILE)  # False for a name that is too long


def find_codec(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a run or of a model of photographs, by its path or by the name of a bundled one.

    Raises:
        RunError: see `find_run`.
    """
    for folder in (expanded(name), _bundled() / str(name)):
        if str(name) and codes_photographs(folder):
            return folder
    return find_run(name)


def find_run(name: str | os.PathLike[str]) -> Path:
    """Return the folder of a run, given by its path or by the name of a bundled model; a run folder takes precedence.

    Raises:
        ConfigurationError: it is a model of photographs, which only codes pictures.
        RunError: there is neither; the nearest bundled name is suggested.
    """
    if not isinstance(name, str | os.PathLike) or not str(name):
        raise RunError(f"the run is {shown(name)}; expected the path of a run folder, or the name of a bundled model.")
    path, bundled = expanded(name), bundled_models()
    if codes_photographs(path):
        raise _only_codes(str(name))
    if os.path.isdir(path) and (str(name) not in bundled or (path / CONFIG_FILE).exists()):
        return path
    if str(name) in bundled:
        return bundled[str(name)]
    if codes_photographs(_bundled() / str(name)):
        raise _only_codes(str(name))
    near = difflib.get_close_matches(str(name), bundled, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise RunError(
        f"no run folder or bundled model {str(name)!r}; {hint}expected a folder made by `nelbo train`, or a bundled "
        f"model ({', '.join(bundled) or 'none'})."
    )


def _only_codes(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{name} is a model of photographs, which only codes pictures; use it with `nelbo compress` and `nelbo "
        "decompress`, and choose another model for this."
    )
