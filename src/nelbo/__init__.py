"""nelbo: denoising diffusion models whose training loss, reported bits/dim and bytes on disk are one number."""

from importlib.metadata import version

from nelbo.config import DataRequest, DiffusionRun, Run, VAERun, bundled_models, load, train
from nelbo.data import load_data
from nelbo.diffusion import (
    ForwardProcess,
    NoiseSchedule,
    ReverseProcess,
    SimpleLoss,
    VariationalBound,
    VariationalLoss,
    bits_per_dim,
)
from nelbo.errors import NelboError
from nelbo.probability import DiagonalGaussian, DiscretizedGaussian, kl_divergence
from nelbo.samplers import AncestralSampler

__version__ = version("nelbo")

__all__ = [
    "AncestralSampler",
    "DataRequest",
    "DiagonalGaussian",
    "DiffusionRun",
    "DiscretizedGaussian",
    "ForwardProcess",
    "NelboError",
    "NoiseSchedule",
    "ReverseProcess",
    "Run",
    "SimpleLoss",
    "VAERun",
    "VariationalBound",
    "VariationalLoss",
    "__version__",
    "bits_per_dim",
    "bundled_models",
    "kl_divergence",
    "load",
    "load_data",
    "train",
]
