"""The cells of Table 2 and the options of a grid; no torch is imported here."""

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from nelbo.data.names import read_size, written_size
from nelbo.errors import ConfigurationError, option, setting
from nelbo.options import Annotated, Doc, check_types
from nelbo.recipes import presets
from nelbo.recipes.recipe import Recipe

PREDICTIONS = {"mean": "mean", "noise": "noise", "data": "x_0", "velocity": "velocity"}  # recipe's name: row's title
OBJECTIVES = (
    ("variational", "fixed-large"),
    ("variational", "fixed-small"),
    ("variational", "learned-range"),
    ("simple", "fixed-large"),
    ("simple", "fixed-small"),
    ("hybrid", "learned-range"),
)
LOSSES = {"variational": "L", "simple": "simple", "hybrid": "hybrid"}
# Settings of every cell besides the preset: the schedule, the distribution of t, the decoder and a network without
# classes are the paper's.
SHARED: dict[str, Any] = {
    "schedule.kind": "linear",
    "schedule.num_steps": 1000,
    "schedule.beta_1": 1e-4,
    "schedule.beta_T": 0.02,
    "timesteps": "uniform",
    "decoder.kind": "gaussian",
    "conditional": False,
    "training.optimizer": "adamw",
    "training.compile": False,
}
# Smaller than the preset's network: about two thousand steps per minute on 2 cores.
SMALLER = {"digits": {"network.base": 24, "network.groups": 8, "network.blocks": 1}}
OWN = ("parameterization", "loss", "variance", "min_snr", "sigmoid")
BY_OPTION = {"training.steps": "steps", "training.minutes": "minutes", "training.seed": "seed"}


@dataclass(frozen=True)
class Cell:
    """A cell of the table: `parameterization`, `loss` and `variance` by their names in recipes."""

    parameterization: str
    loss: str
    variance: str

    @property
    def name(self) -> str:
        """Name of its run folder, such as "noise-simple-fixed-large"."""
        return f"{self.parameterization}-{self.loss}-{self.variance}"


def table2_cells() -> list[Cell]:
    """Return the 24 cells, row by row.

    L has a column for each of the three variances, L_simple for the two fixed ones, and the hybrid loss for the learned
    one: L_simple cannot train a variance, and the hybrid loss adds to it a term that can.
    """
    return [Cell(prediction, loss, variance) for prediction in PREDICTIONS for loss, variance in OBJECTIVES]


@dataclass(frozen=True)
class GridOptions:
    """The options that all cells share.

    Raises:
        ConfigurationError: not exactly one budget; a value outside its range; an override of a setting that
            distinguishes the cells or has its own option; or not a diffusion model of images.
    """

    data: Annotated[str, Doc("A built-in name or the path of images, as for training.")]
    preset: Annotated[
        str | None, Doc("Preset for the network and the training settings; by default the preset of the data set.")
    ] = None
    minutes: Annotated[float | None, Doc("Training time of each cell in minutes, instead of `steps`.")] = None
    steps: Annotated[int | None, Doc("Optimizer steps of each cell, instead of `minutes`.")] = None
    seed: Annotated[int, Doc("Random seed, the same for all cells.")] = 0
    num_images: Annotated[int, Doc("Number of samples per cell for the Frechet distance.")] = 1000
    sampling_steps: Annotated[
        int, Doc("Ancestral sampling steps, evenly spaced; the predicted image is clipped to [-1, 1].")
    ] = 250
    features: Annotated[
        str | None,
        Doc(
            "Network for the Frechet distance: a torch.export program (.pt2), or a classifier saved by nelbo "
            "(.safetensors). "
            "By default the bundled classifier of the data."
        ),
    ] = None
    overrides: Annotated[Mapping[str, Any], Doc("Other settings of the recipe by dotted name.")] = field(
        default_factory=dict
    )
    size: Annotated[
        int | tuple[int, int] | None, Doc("Side, or WIDTHxHEIGHT, to which the images are resized and cropped.")
    ] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", read_size(self.size))
        check_types(self)
        if (self.minutes is None) == (self.steps is None):
            raise ConfigurationError(
                f"each cell needs one budget: give either {option('minutes')} or {option('steps')}."
            )
        for name in ("num_images", "sampling_steps"):
            if getattr(self, name) < 2:
                raise ConfigurationError(f"{option(name)} must be at least 2, got {getattr(self, name)}.")
        for name in self.overrides:
            if name in OWN:
                raise ConfigurationError(f"{setting(name)} distinguishes the cells of the table; leave it out.")
            if name in BY_OPTION:
                raise ConfigurationError(f"the override {name} is not supported; give {option(BY_OPTION[name])}.")
        if not isinstance(self._preset, Recipe) or self.data.startswith("toy:"):
            raise ConfigurationError(
                f"Table 2 compares diffusion models of images; set {option('data')} to images, such as digits, and "
                f"{option('preset')} to a diffusion recipe."
            )

    @property
    def _preset(self) -> Any:
        return presets.preset(self.preset or presets.default_preset(self.data))

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return the overrides that turn the preset into a cell's recipe."""
        smaller = {} if self.preset else SMALLER.get(self.data, {})
        budget = {"training.minutes": self.minutes, "training.steps": self.steps, "training.seed": self.seed}
        return {**SHARED, **smaller, **self.overrides, **budget, **asdict(cell)}

    def recipe(self, cell: Cell) -> Recipe:
        """Return a cell's recipe, before it is fitted to the data."""
        recipe: Recipe = self._preset.with_overrides(self.settings(cell))
        return recipe

    def command(self, out: str | os.PathLike[str]) -> str:
        """Return the command line that computes this grid."""
        names = ("preset", "minutes", "steps", "seed", "num_images", "sampling_steps", "features")
        size = None if self.size is None else written_size(self.size)
        values = [("data", self.data), ("size", size), ("out", out), *((name, getattr(self, name)) for name in names)]
        values += [("set", f"{name}={json.dumps(value)}") for name, value in self.overrides.items()]
        parts = ["nelbo", "table2"]
        for name, value in values:
            parts += [] if value is None else [f"--{name.replace('_', '-')}", str(value)]
        return shlex.join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `grid.json`: the options and the recipe of the first cell, which implies the others."""
        from importlib.metadata import version  # slow to import, and the command line starts without it

        from nelbo.data import absolute_spec  # here, because it imports torch

        plain = asdict(self) | {"data": absolute_spec(self.data)}
        return {"nelbo": version("nelbo"), **plain, "recipe": self.recipe(table2_cells()[0]).to_json()}
