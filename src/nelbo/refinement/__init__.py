"""Images of more than 256 levels: a process of up to 256 coarse levels, refined digit by digit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
