from .bound import ELBO, LatentModel, elbo
from .evaluation import ELBOReport, evaluate_elbo
from .fitting import fit_posterior
from .likelihood import GaussianLevels, Likelihood
from .log_likelihood import MonteCarloReport, monte_carlo
from .model import VAE
from .objective import VAEObjective
from .options import VAEOptions
from .traversal import busiest, traverse

__all__ = [
    "ELBO",
    "VAE",
    "ELBOReport",
    "GaussianLevels",
    "LatentModel",
    "Likelihood",
    "MonteCarloReport",
    "VAEObjective",
    "VAEOptions",
    "busiest",
    "elbo",
    "evaluate_elbo",
    "fit_posterior",
    "monte_carlo",
    "traverse",
]
