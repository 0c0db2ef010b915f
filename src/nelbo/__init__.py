"""nelbo: denoising diffusion models whose training loss, reported bits/dim and bytes on disk are one number.

Names are imported when they are first used, so that `import nelbo` costs next to nothing; `__init__.pyi` lists them.
"""

from importlib.metadata import version

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = version("nelbo")
