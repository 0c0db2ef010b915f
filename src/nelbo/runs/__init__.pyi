from .codec_plan import PLAN_FILE, find_model, fit_codec
from .damaged import DamagedImage, prepare_damaged
from .diffusion_model import DiffusionModel
from .diffusion_run import DiffusionRun
from .file_codec import codec_for
from .folder import DataOptions, RunConfig, bundled_models, find_run, read_config
from .integer_model import INTEGER_FILE, IntegerModel
from .loading import load, load_as
from .restore_options import RestoreOptions
from .restoring import restore
from .run import Report, Run
from .sampling_options import SPACINGS, SamplingOptions
from .vae_run import VAERun

__all__ = [
    "INTEGER_FILE",
    "PLAN_FILE",
    "SPACINGS",
    "DamagedImage",
    "DataOptions",
    "DiffusionModel",
    "DiffusionRun",
    "IntegerModel",
    "Report",
    "RestoreOptions",
    "Run",
    "RunConfig",
    "SamplingOptions",
    "VAERun",
    "bundled_models",
    "codec_for",
    "find_model",
    "find_run",
    "fit_codec",
    "load",
    "load_as",
    "prepare_damaged",
    "read_config",
    "restore",
]
