from .codec_plan import PLAN_FILE, find_model, fit_codec
from .diffusion_model import DiffusionModel
from .diffusion_run import DiffusionRun
from .folder import DataOptions, RunConfig, bundled_models, find_run, read_config
from .loading import load, load_as
from .restoring import METHODS, Repair, expected_shape, restore, the_damage
from .run import Report, Run
from .sampling_options import SPACINGS, SamplingOptions
from .vae_run import VAERun

__all__ = [
    "METHODS",
    "PLAN_FILE",
    "SPACINGS",
    "DataOptions",
    "DiffusionModel",
    "DiffusionRun",
    "Repair",
    "Report",
    "Run",
    "RunConfig",
    "SamplingOptions",
    "VAERun",
    "bundled_models",
    "expected_shape",
    "find_model",
    "find_run",
    "fit_codec",
    "load",
    "load_as",
    "read_config",
    "restore",
    "the_damage",
]
