"""The paper: forward process, reverse process, variational bound, losses, and the schedule beneath them all."""

from nelbo.diffusion.bound import BoundTerms, VariationalBound, bits_per_dim, sum_dims
from nelbo.diffusion.constraint import Constraint, DynamicThreshold
from nelbo.diffusion.forward import ForwardProcess
from nelbo.diffusion.guidance import Guidance
from nelbo.diffusion.heun import heun_slope
from nelbo.diffusion.known import KnownBound, KnownTerms
from nelbo.diffusion.loss import HybridLoss, Loss, MinSNR, SimpleLoss, VariationalLoss
from nelbo.diffusion.objective import DiffusionObjective
from nelbo.diffusion.parameterization import (
    DataPrediction,
    GridPrediction,
    MeanPrediction,
    NoisePrediction,
    Parameterization,
    VelocityPrediction,
)
from nelbo.diffusion.reverse import Prediction, ReverseProcess
from nelbo.diffusion.schedule import NoiseSchedule, ScheduleWarning
from nelbo.diffusion.spacing import evenly_spaced, spaced_by
from nelbo.diffusion.timesteps import (
    ImportanceTimesteps,
    StratifiedTimesteps,
    TimestepDraw,
    Timesteps,
    UniformTimesteps,
    stratified_uniforms,
)
from nelbo.diffusion.variance import Calibrated, FixedLarge, FixedSmall, LearnedRange, Variance

__all__ = [
    "BoundTerms",
    "Calibrated",
    "Constraint",
    "DataPrediction",
    "DiffusionObjective",
    "DynamicThreshold",
    "FixedLarge",
    "FixedSmall",
    "ForwardProcess",
    "GridPrediction",
    "Guidance",
    "HybridLoss",
    "ImportanceTimesteps",
    "KnownBound",
    "KnownTerms",
    "LearnedRange",
    "Loss",
    "MeanPrediction",
    "MinSNR",
    "NoisePrediction",
    "NoiseSchedule",
    "Parameterization",
    "Prediction",
    "ReverseProcess",
    "ScheduleWarning",
    "SimpleLoss",
    "StratifiedTimesteps",
    "TimestepDraw",
    "Timesteps",
    "UniformTimesteps",
    "Variance",
    "VariationalBound",
    "VariationalLoss",
    "VelocityPrediction",
    "bits_per_dim",
    "evenly_spaced",
    "heun_slope",
    "spaced_by",
    "stratified_uniforms",
    "sum_dims",
]
