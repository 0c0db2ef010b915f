from .bound_options import BoundOptions
from .codec_plan import PLAN_FILE, find_model, fit_codec
from .conditions import condition_for
from .damaged import DamagedImage, prepare_damaged
from .data_options import DataOptions
from .diffusion_model import DiffusionModel
from .diffusion_run import DiffusionRun
from .file_codec import codec_for
from .folder import RunConfig, bundled_models, codes_photographs, find_codec, find_run, read_config
from .integer_model import INTEGER_FILE, IntegerModel
from .latent_run import LatentRun
from .loading import load, load_as
from .masking_run import MaskingRun, photographs
from .measured_restoring import values_of
from .restore_options import RestoreOptions
from .restoring import restore
from .run import Report, Run
from .sampling_options import SPACINGS, SamplingOptions
from .vae_run import VAERun

__all__ = [
    "INTEGER_FILE",
    "PLAN_FILE",
    "SPACINGS",
    "BoundOptions",
    "DamagedImage",
    "DataOptions",
    "DiffusionModel",
    "DiffusionRun",
    "IntegerModel",
    "LatentRun",
    "MaskingRun",
    "Report",
    "RestoreOptions",
    "Run",
    "RunConfig",
    "SamplingOptions",
    "VAERun",
    "bundled_models",
    "codec_for",
    "codes_photographs",
    "condition_for",
    "find_codec",
    "find_model",
    "find_run",
    "fit_codec",
    "load",
    "load_as",
    "photographs",
    "prepare_damaged",
    "read_config",
    "restore",
    "values_of",
]
