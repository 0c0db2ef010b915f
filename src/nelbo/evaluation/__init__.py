"""The bound over data sets, and the calibration that it is reported with."""

from nelbo.evaluation.bound import BoundReport, StepBits, evaluate_bound, expected_terms
from nelbo.evaluation.calibration import calibrate
from nelbo.evaluation.forms import FormEstimate, FormsReport, compare_forms
from nelbo.evaluation.image_codecs import CodecPoint, available_codecs, codec_curve
from nelbo.evaluation.rate_distortion import RateDistortion, RatePoint, rate_distortion

__all__ = [
    "BoundReport",
    "CodecPoint",
    "FormEstimate",
    "FormsReport",
    "RateDistortion",
    "RatePoint",
    "StepBits",
    "available_codecs",
    "calibrate",
    "codec_curve",
    "compare_forms",
    "evaluate_bound",
    "expected_terms",
    "rate_distortion",
]
