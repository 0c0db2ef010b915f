"""Presets, run folders, and assembly: the only place that turns names into objects."""

from nelbo.config.folder import DataOptions, RunConfig, bundled_models, find_run, read_config
from nelbo.config.presets import DESCRIPTIONS, PRESETS, default_preset, preset
from nelbo.config.recipe import Recipe, ScheduleOptions, known
from nelbo.config.run import Run, load
from nelbo.config.training import DataRequest, Listener, held_out_part, show_run, train

__all__ = [
    "DESCRIPTIONS",
    "PRESETS",
    "DataOptions",
    "DataRequest",
    "Listener",
    "Recipe",
    "Run",
    "RunConfig",
    "ScheduleOptions",
    "bundled_models",
    "default_preset",
    "find_run",
    "held_out_part",
    "known",
    "load",
    "preset",
    "read_config",
    "show_run",
    "train",
]
