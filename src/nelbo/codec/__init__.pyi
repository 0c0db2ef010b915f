from .archive_codec import ArchiveCodec
from .bitstream import Bitstream
from .channel_fitting import fit_channel
from .channel_plan import ChannelPlan
from .codec import Decoded, ProgressiveCodec
from .fitting import fit_plan
from .float_chain import FloatChain
from .inspection import Segment, SegmentKind, cut_to_error, rmse, segments
from .lattice_chain import LatticeChain
from .options import FittingOptions
from .plan import CodecPlan
from .range_coder import RangeDecoder, RangeEncoder
from .raw_image import RawImage, hash_of
from .report import CodecReport, report_files

__all__ = [
    "ArchiveCodec",
    "Bitstream",
    "ChannelPlan",
    "CodecPlan",
    "CodecReport",
    "Decoded",
    "FittingOptions",
    "FloatChain",
    "LatticeChain",
    "ProgressiveCodec",
    "RangeDecoder",
    "RangeEncoder",
    "RawImage",
    "Segment",
    "SegmentKind",
    "cut_to_error",
    "fit_channel",
    "fit_plan",
    "hash_of",
    "report_files",
    "rmse",
    "segments",
]
