"""The bound over data sets, and the calibration that it is reported with."""

from nelbo.evaluation.bound import BoundReport, StepBits, evaluate_bound, expected_terms
from nelbo.evaluation.calibration import calibrate

__all__ = ["BoundReport", "StepBits", "calibrate", "evaluate_bound", "expected_terms"]
