"""Import and export of models: diffusers' folders, torch.export programs and the Hub, without diffusers itself."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
