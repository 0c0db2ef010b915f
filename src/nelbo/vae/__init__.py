"""The variational autoencoder (Kingma & Welling 2014): its bound, what it is trained on, and estimates of log p(x)."""

from nelbo.vae.bound import ELBO, LatentModel, elbo
from nelbo.vae.evaluation import ELBOReport, evaluate_elbo
from nelbo.vae.fitting import fit_posterior
from nelbo.vae.likelihood import GaussianLevels, Likelihood
from nelbo.vae.model import VAE
from nelbo.vae.monte_carlo import MonteCarloReport, monte_carlo
from nelbo.vae.networks import VAEOptions
from nelbo.vae.objective import VAEObjective
from nelbo.vae.traversal import busiest, traverse

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
