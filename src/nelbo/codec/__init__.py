"""Algorithms 3 and 4 as a file: progressive compression that spends what the bound says."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
