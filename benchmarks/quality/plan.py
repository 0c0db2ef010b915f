"""Which models are compared, with which settings, in which folders and in which order."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.samplers import Cell
from nelbo.cli.options import parse_setting
from nelbo.errors import ConfigurationError
from nelbo.options import known
from nelbo.recipes import presets
from nelbo.samplers import SAMPLERS

OPENING, CLOSING = "[({", "])}"


@dataclass(frozen=True)
class Entry:
    """A model of the comparison.

    Attributes:
        name: name of its row and folder.
        library: the library that trains it, a key of `benchmarks.quality.libraries.LIBRARIES`.
        settings: settings of its training, other than those that are the same for all.
        precision: precision of its network while sampling, as in `SamplingOptions`: that of its training.
    """

    name: str
    library: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    precision: str = "fp32"


NELBO, DIFFUSERS, DDPM_PYTORCH = "nelbo", "diffusers", "denoising-diffusion-pytorch"
ENTRIES = {
    entry.name: entry
    for entry in (
        Entry(NELBO, NELBO, {"preset": None, "overrides": {}}, "auto"),
        Entry(DIFFUSERS, DIFFUSERS, {"learning_rate": 1e-4, "batch_size": 16, "precision": "fp32"}),
        Entry("diffusers-fast", DIFFUSERS, {"learning_rate": 1e-3, "batch_size": 32, "precision": "auto"}, "auto"),
        Entry(DDPM_PYTORCH, DDPM_PYTORCH, {"flip": True}),
        Entry(f"{DDPM_PYTORCH}-unflipped", DDPM_PYTORCH, {"flip": False}),
    )
}
DEFAULT = (NELBO, DIFFUSERS, "diffusers-fast", DDPM_PYTORCH)


@dataclass(frozen=True)
class Job:
    """The training of one model, as plain values for the process that does it.

    Attributes:
        out: folder of the benchmark.
        data: fields of a `DataRequest`.
        minutes: training time.
        repeat: 0 for the first training, 1 for the second one; also the random seed.
        threads: threads of PyTorch.
        parameters: number of parameters that the networks of the other libraries have approximately.
    """

    name: str
    library: str
    settings: Mapping[str, Any]
    precision: str
    out: str
    data: Mapping[str, Any]
    minutes: float
    repeat: int
    threads: int
    parameters: int

    @property
    def label(self) -> str:
        """The name, with the number of the training if it is not the first."""
        return f"{self.name}.{self.repeat + 1}" if self.repeat else self.name

    @property
    def place(self) -> Path:
        """The folder of this model."""
        return Path(self.out) / f"{self.minutes:g}-minutes" / self.label

    def __str__(self) -> str:
        return f"{self.label}, {self.minutes:g} minutes"

    def identity(self) -> dict[str, Any]:
        """Return everything that determines the training, to refuse another one in the same folder."""
        return {name: value for name, value in asdict(self).items() if name not in ("out", "precision")}


def parse_recipe(text: str) -> Entry:
    """Read `NAME:PRESET[,SETTING=VALUE...]` as a model of nelbo; commas inside brackets belong to the value.

    Raises:
        ConfigurationError: the text is not of this form, or the preset or a setting does not exist.
    """
    name, colon, rest = text.partition(":")
    if not colon or not name or name in ENTRIES or "/" in name:
        raise ConfigurationError(
            f"the recipe {text!r} is not of the form NAME:PRESET,SETTING=VALUE with a new name, such as "
            "wide:fashion-mnist,network.base=48."
        )
    preset, *pairs = split_outside_brackets(rest)
    overrides = dict(parse_setting(pair) for pair in pairs)
    presets.preset(preset).with_overrides(overrides)
    return Entry(name, NELBO, {"preset": preset, "overrides": overrides}, "auto")


def split_outside_brackets(text: str) -> list[str]:
    """Split at the commas that are not inside brackets.

    >>> split_outside_brackets("a,b=[1,2],c=3")
    ['a', 'b=[1,2]', 'c=3']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def parse_sampler(text: str) -> Cell:
    """Read `SAMPLER:STEPS[:SPACING[:GUIDANCE]]`, such as dpm-solver++sde:20:karras.

    Raises:
        ConfigurationError: the text is not of this form, or the sampler does not exist.
    """
    name, *rest = text.split(":")
    if not 1 <= len(rest) <= 3 or not rest[0].isdecimal() or not all(map(_is_number, rest[2:])):
        raise ConfigurationError(
            f"the sampler {text!r} is not of the form SAMPLER:STEPS:SPACING:GUIDANCE, such as ddim:20:even or "
            "ddim:20:even:1.5."
        )
    guidance = float(rest[2]) if rest[2:] else 1.0
    return Cell(known(name, SAMPLERS, "sampler"), int(rest[0]), *rest[1:2], guidance=guidance)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def chosen_entries(names: Sequence[str] | None, recipes: Iterable[Entry]) -> list[Entry]:
    """Return the models by name, then the recipes; without names, the recipes, or the default models if there are none.

    Raises:
        ConfigurationError: an unknown name.
    """
    extra = {entry.name: entry for entry in recipes}
    if names is None:
        return list(extra.values()) or [ENTRIES[name] for name in DEFAULT]
    every = {**ENTRIES, **extra}
    found = {name: every[known(name, every, "model")] for name in names}
    return list({**found, **extra}.values())


def in_order(jobs: Sequence[Job], again: Sequence[Job]) -> list[Job]:
    """Return the order of training: the jobs, then the second trainings in the reverse order."""
    return [*jobs, *reversed(again)]
