from .chain import Estimate, IntegerChain, Known, LinearModel, centred, simulate
from .model import LatticeModel, evidence
from .objective import ChainObjective

__all__ = [
    "ChainObjective",
    "Estimate",
    "IntegerChain",
    "Known",
    "LatticeModel",
    "LinearModel",
    "centred",
    "evidence",
    "simulate",
]
