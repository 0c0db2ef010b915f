"""Masking diffusion: a process that masks pixels one after another, whose reverse is an autoregressive model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
