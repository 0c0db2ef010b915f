"""Distributions that know nothing of diffusion: everything in nats, per dimension."""

from nelbo.probability.categorical import categorical_entropy, categorical_kl
from nelbo.probability.discretized import DiscretizedGaussian
from nelbo.probability.families import FAMILIES, CountFit, entropy_of, mean_of, probabilities_of
from nelbo.probability.gaussian import DiagonalGaussian, kl_divergence
from nelbo.probability.levels import data_to_levels, expected_level, levels_to_data
from nelbo.probability.mixture import Mixture
from nelbo.probability.normal import log_interval_mass

__all__ = [
    "FAMILIES",
    "CountFit",
    "DiagonalGaussian",
    "DiscretizedGaussian",
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
