from .archive_codec import ArchiveCodec
from .bitstream import Bitstream, RawImage, hash_of
from .codec import Decoded, ProgressiveCodec
from .fitting import fit_plan
from .inspection import Segment, SegmentKind, cut_to_error, rmse, segments
from .options import FittingOptions
from .plan import CodecPlan
from .range_coder import RangeDecoder, RangeEncoder
from .report import CodecReport, report_files

__all__ = [
    "ArchiveCodec",
    "Bitstream",
    "CodecPlan",
    "CodecReport",
    "Decoded",
    "FittingOptions",
    "ProgressiveCodec",
    "RangeDecoder",
    "RangeEncoder",
    "RawImage",
    "Segment",
    "SegmentKind",
    "cut_to_error",
    "fit_plan",
    "hash_of",
    "report_files",
    "rmse",
    "segments",
]
