from .context import Context, context_of
from .linear import fit_linear
from .model import MaskingModel
from .objective import MaskingObjective
from .order import LEVELS, masking_passes

__all__ = [
    "LEVELS",
    "Context",
    "MaskingModel",
    "MaskingObjective",
    "context_of",
    "fit_linear",
    "masking_passes",
]
