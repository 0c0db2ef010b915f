"""Work that trains or measures models: training runs, Table 2, classifiers, models of points."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
