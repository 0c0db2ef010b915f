"""Presets, run folders, and assembly: the only place that turns names into objects."""

from nelbo.config.classifiers import (
    ClassifierCard,
    TrainedClassifier,
    bundled_classifiers,
    load_classifier,
    train_features,
)
from nelbo.config.codec_run import PLAN_FILE, find_model, fit_codec
from nelbo.config.diffusion_run import DiffusionRun
from nelbo.config.features import features_for
from nelbo.config.folder import DataOptions, RunConfig, bundled_models, find_run, read_config
from nelbo.config.loading import load, load_as
from nelbo.config.pictures import show_run
from nelbo.config.points import Gap, PointsReport, report_points
from nelbo.config.presets import DESCRIPTIONS, PRESETS, default_preset, preset
from nelbo.config.recipe import AnyRecipe, Recipe, ScheduleOptions, VAERecipe, known
from nelbo.config.restoring import METHODS, Repair, expected_shape, restore, the_damage
from nelbo.config.run import Report, Run
from nelbo.config.sampling import SPACINGS, How
from nelbo.config.table2 import (
    Cell,
    CellRecord,
    GridListener,
    GridOptions,
    Table2,
    drawn_samples,
    run_table2,
    table2_cells,
)
from nelbo.config.training import DataRequest, Listener, data_of, held_out_part, train
from nelbo.config.vae_run import VAERun

__all__ = [
    "DESCRIPTIONS",
    "METHODS",
    "PLAN_FILE",
    "PRESETS",
    "SPACINGS",
    "AnyRecipe",
    "Cell",
    "CellRecord",
    "ClassifierCard",
    "DataOptions",
    "DataRequest",
    "DiffusionRun",
    "Gap",
    "GridListener",
    "GridOptions",
    "How",
    "Listener",
    "PointsReport",
    "Recipe",
    "Repair",
    "Report",
    "Run",
    "RunConfig",
    "ScheduleOptions",
    "Table2",
    "TrainedClassifier",
    "VAERecipe",
    "VAERun",
    "bundled_classifiers",
    "bundled_models",
    "data_of",
    "default_preset",
    "drawn_samples",
    "expected_shape",
    "features_for",
    "find_model",
    "find_run",
    "fit_codec",
    "held_out_part",
    "known",
    "load",
    "load_as",
    "load_classifier",
    "preset",
    "read_config",
    "report_points",
    "restore",
    "run_table2",
    "show_run",
    "table2_cells",
    "the_damage",
    "train",
    "train_features",
]
