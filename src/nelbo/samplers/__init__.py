"""Ways down the chain: one file each, one contract; and what can be seen by starting them in the middle of it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
