"""Models that travel: diffusers' folders, programs of torch.export, and the Hub, read and written without diffusers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
