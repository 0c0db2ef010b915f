"""The variational autoencoder (Kingma & Welling 2014): its bound, its objective, and estimates of log p(x)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
