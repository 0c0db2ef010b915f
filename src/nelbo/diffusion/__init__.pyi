from .bound import BoundTerms, VariationalBound, bits_per_dim, mean_dims, num_dims, sum_dims
from .constraint import Constraint, DynamicThreshold
from .continuous import ContinuousBound
from .continuous_objective import LEARNED, ContinuousObjective
from .continuous_schedule import ContinuousSchedule
from .forward import ForwardProcess
from .guidance import Guidance
from .heun import heun_slope
from .known import KnownBound, KnownTerms
from .loss import HybridLoss, Loss, MinSNR, SigmoidWeight, SimpleLoss, VariationalLoss, Weighting
from .objective import DiffusionObjective
from .parameterization import (
    DataPrediction,
    GridPrediction,
    MeanPrediction,
    NoisePrediction,
    Parameterization,
    VelocityPrediction,
)
from .pixel_decoder import PixelDecoder
from .pixel_objective import PixelObjective, pixel_examples
from .reverse import Prediction, ReverseProcess
from .schedule import NoiseSchedule, ScheduleWarning
from .spacing import evenly_spaced, spaced_by
from .timesteps import (
    ImportanceTimesteps,
    StratifiedTimesteps,
    TimestepDraw,
    Timesteps,
    UniformTimesteps,
    stratified_uniforms,
)
from .variance import Calibrated, FixedLarge, FixedSmall, LearnedRange, Variance

__all__ = [
    "LEARNED",
    "BoundTerms",
    "Calibrated",
    "Constraint",
    "ContinuousBound",
    "ContinuousObjective",
    "ContinuousSchedule",
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
    "PixelDecoder",
    "PixelObjective",
    "Prediction",
    "ReverseProcess",
    "ScheduleWarning",
    "SigmoidWeight",
    "SimpleLoss",
    "StratifiedTimesteps",
    "TimestepDraw",
    "Timesteps",
    "UniformTimesteps",
    "Variance",
    "VariationalBound",
    "VariationalLoss",
    "VelocityPrediction",
    "Weighting",
    "bits_per_dim",
    "evenly_spaced",
    "heun_slope",
    "mean_dims",
    "num_dims",
    "pixel_examples",
    "spaced_by",
    "stratified_uniforms",
    "sum_dims",
]
