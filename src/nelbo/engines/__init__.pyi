from .compressing import CompressJob, Compressor, compress_batch, named_for_workers
from .engine import Engine, Job, ProcessEngine
from .file_end import FileEnd
from .options import ENGINES, EngineOptions
from .packing import EncodeJob, pack
from .part_files import PartScores, read_part
from .parts_folder import Part, PartsFolder
from .scores_report import ScoredImage, ScoresReport
from .scoring import ImageParts, Piece, ScoreJob, evaluate, measure, opened, parts_of, score
from .starting import open_engine

__all__ = [
    "ENGINES",
    "CompressJob",
    "Compressor",
    "EncodeJob",
    "Engine",
    "EngineOptions",
    "FileEnd",
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
    "compress_batch",
    "evaluate",
    "measure",
    "named_for_workers",
    "open_engine",
    "opened",
    "pack",
    "parts_of",
    "read_part",
    "score",
]
