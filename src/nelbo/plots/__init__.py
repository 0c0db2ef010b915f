"""Figures: tensors and records go in, a figure or an image comes out, and `save` writes it.

This is the one home of matplotlib. No figure uses pyplot, so nothing here touches a display or global state.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
