"""The paper: forward process, reverse process, variational bound, losses, and the schedule beneath them all."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
