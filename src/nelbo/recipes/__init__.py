"""Recipes: presets, their settings, and the objects that the names in them stand for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
