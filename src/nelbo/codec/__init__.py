"""Algorithms 3 and 4 as a file: progressive compression in about as many bits as the variational bound."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
