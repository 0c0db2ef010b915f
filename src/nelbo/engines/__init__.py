"""Many images on an engine, part by part: in this process, or by Ray on several processors and machines."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
