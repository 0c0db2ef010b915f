"""Damaged images restored by a model of whole ones: no training, and several answers where many fit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
