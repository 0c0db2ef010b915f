"""Samplers of the reverse process, one file each, and two studies that start a sampler in the middle of the chain."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
