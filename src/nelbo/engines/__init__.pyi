from .engine import Engine, Job, ProcessEngine
from .options import ENGINES, EngineOptions
from .packing import EncodeJob, pack
from .part_files import PartScores, read_part
from .parts_folder import Part, PartsFolder
from .scores_report import ScoredImage, ScoresReport
from .scoring import ImageParts, Piece, ScoreJob, evaluate, measure, opened, parts_of, score
from .starting import open_engine

__all__ = [
    "ENGINES",
    "EncodeJob",
    "Engine",
    "EngineOptions",
    "ImageParts",
    "Job",
    "Part",
    "PartScores",
    "PartsFolder",
    "Piece",
    "ProcessEngine",
    "ScoreJob",
    "ScoredImage",
    "ScoresReport",
    "evaluate",
    "measure",
    "open_engine",
    "opened",
    "pack",
    "parts_of",
    "read_part",
    "score",
]
