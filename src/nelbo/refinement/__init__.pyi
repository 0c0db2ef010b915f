from .coarse_images import Coarse, coarse, coarse_split
from .model import DigitTables, Refinement
from .objective import RefinementObjective
from .split import LevelSplit

__all__ = [
    "Coarse",
    "DigitTables",
    "LevelSplit",
    "Refinement",
    "RefinementObjective",
    "coarse",
    "coarse_split",
]
