from .categorical import categorical_entropy, categorical_kl
from .decoder import Decoder
from .discretized import DiscretizedGaussian
from .discretized_logistic import DiscretizedLogistic
from .families import FAMILIES, CountFit, entropy_of, mean_of, probabilities_of
from .gaussian import DiagonalGaussian, kl_divergence
from .levels import data_to_levels, expected_level, levels_to_data
from .mixture import Mixture
from .normal import log_interval_mass

__all__ = [
    "FAMILIES",
    "CountFit",
    "Decoder",
    "DiagonalGaussian",
    "DiscretizedGaussian",
    "DiscretizedLogistic",
    "Mixture",
    "categorical_entropy",
    "categorical_kl",
    "data_to_levels",
    "entropy_of",
    "expected_level",
    "kl_divergence",
    "levels_to_data",
    "log_interval_mass",
    "mean_of",
    "probabilities_of",
]
