"""Networks: callables (x_t, t, label) -> tensor, independent of the schedule; t is the network's own time."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
