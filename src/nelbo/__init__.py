"""nelbo: denoising diffusion models whose training loss, reported bits/dim and bytes on disk are one number.

Names are imported on first use, so that `import nelbo` costs next to nothing; `__init__.pyi` lists them.
"""

from typing import Any

import lazy_loader

_import, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # slow to import, and rarely needed

        return version("nelbo")
    return _import(name)
