from .baselines import Baselines, baselines_of
from .bound import evaluate_bound, expected_terms, measure_bound, num_strata
from .bound_report import BoundReport, StepBits
from .bound_sums import BoundSums, MeasuredBound
from .calibration import calibrate, draws_after
from .conformal import (
    Decisions,
    DecisionWarning,
    PValues,
    Surprise,
    benjamini_hochberg,
    conformal_decisions,
    conformal_p_values,
)
from .decision_options import COMPRESSORS, TAILS, DecisionOptions
from .distortion import RateDistortion, RatePoint, rate_distortion
from .forms import FormEstimate, FormsReport, compare_forms
from .frechet import (
    FeatureModule,
    FrechetReport,
    features_of,
    frechet_distance,
    require_comparison,
    require_torchmetrics,
)
from .heat_map import HeatMap, evaluate_heat_map
from .histogram import HistogramDivergence, coarser, counts_of, histogram_divergence
from .image_codecs import (
    CodecPoint,
    Encoding,
    available_codecs,
    codec_curve,
    encode_image,
    lossless_bits,
)
from .likelihood import LikelihoodReport, ProbabilityFlow, evaluate_likelihood
from .neighbours import Neighbours, nearest_neighbours, require_neighbours
from .score_fields import ScoreField, score_field

__all__ = [
    "COMPRESSORS",
    "TAILS",
    "Baselines",
    "BoundReport",
    "BoundSums",
    "CodecPoint",
    "DecisionOptions",
    "DecisionWarning",
    "Decisions",
    "Encoding",
    "FeatureModule",
    "FormEstimate",
    "FormsReport",
    "FrechetReport",
    "HeatMap",
    "HistogramDivergence",
    "LikelihoodReport",
    "MeasuredBound",
    "Neighbours",
    "PValues",
    "ProbabilityFlow",
    "RateDistortion",
    "RatePoint",
    "ScoreField",
    "StepBits",
    "Surprise",
    "available_codecs",
    "baselines_of",
    "benjamini_hochberg",
    "calibrate",
    "coarser",
    "codec_curve",
    "compare_forms",
    "conformal_decisions",
    "conformal_p_values",
    "counts_of",
    "draws_after",
    "encode_image",
    "evaluate_bound",
    "evaluate_heat_map",
    "evaluate_likelihood",
    "expected_terms",
    "features_of",
    "frechet_distance",
    "histogram_divergence",
    "lossless_bits",
    "measure_bound",
    "nearest_neighbours",
    "num_strata",
    "rate_distortion",
    "require_comparison",
    "require_neighbours",
    "require_torchmetrics",
    "score_field",
]
