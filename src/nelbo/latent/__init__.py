"""Latent diffusion (Rombach et al. 2022): a convolutional VAE, a diffusion prior on its latents, and one bound."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
