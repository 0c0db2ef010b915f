"""Algorithms 3 and 4 as a file: progressive compression that spends what the bound says."""

from nelbo.codec.bitstream import Bitstream, RawImage, hash_of
from nelbo.codec.codec import Decoded, ProgressiveCodec
from nelbo.codec.fitting import FittingOptions, FittingProgress, fit_plan
from nelbo.codec.plan import CodecPlan
from nelbo.codec.range_coder import RangeDecoder, RangeEncoder
from nelbo.codec.report import CodecReport, report_files
from nelbo.codec.segments import Segment, cut_to_error, rmse, segments

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
    "cut_to_error",
    "fit_plan",
    "hash_of",
    "report_files",
    "rmse",
    "segments",
]
