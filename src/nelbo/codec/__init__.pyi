from .bitstream import Bitstream, RawImage, hash_of
from .codec import Decoded, ProgressiveCodec
from .fitting import FittingProgress, fit_plan
from .inspection import Segment, SegmentKind, cut_to_error, rmse, segments
from .options import FittingOptions
from .plan import CodecPlan, stored_fingerprint
from .range_coder import RangeDecoder, RangeEncoder
from .report import CodecReport, report_files

__all__ = [
    "Bitstream",
    "CodecPlan",
    "CodecReport",
    "Decoded",
    "FittingOptions",
    "FittingProgress",
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
    "stored_fingerprint",
]
