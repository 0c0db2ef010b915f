from .codec_plan import PLAN_FILE, find_model, fit_codec
from .damaged import DamagedImage, prepare_damaged
from .diffusion_model import DiffusionModel
from .diffusion_run import DiffusionRun
from .folder import DataOptions, RunConfig, bundled_models, find_run, read_config
from .loading import load, load_as
from .restore_options import RestoreOptions
from .restoring import restore
from .run import Report, Run
from .sampling_options import SPACINGS, SamplingOptions
from .vae_run import VAERun

__all__ = [
    "PLAN_FILE",
    "SPACINGS",
    "DamagedImage",
    "DataOptions",
    "DiffusionModel",
    "DiffusionRun",
    "Report",
    "RestoreOptions",
    "Run",
    "RunConfig",
    "SamplingOptions",
    "VAERun",
    "bundled_models",
    "find_model",
    "find_run",
    "fit_codec",
    "load",
    "load_as",
    "prepare_damaged",
    "read_config",
    "restore",
]
