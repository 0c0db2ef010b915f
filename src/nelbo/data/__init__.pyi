from .batches import TrainingStream, loader
from .counts import example_counts, read_counts
from .datasets import ArrayDataset, ImageDataset, Reject, Split
from .loading import load_data, load_for_model
from .names import KNOWN_DENSITY, KNOWN_SCORE, absolute_spec
from .pictures import Picture, read_pictures
from .report import DataReport, describe
from .scanning import FolderDataset
from .toy_sets import toy, toy_log_density, toy_masses, toy_score

__all__ = [
    "KNOWN_DENSITY",
    "KNOWN_SCORE",
    "ArrayDataset",
    "DataReport",
    "FolderDataset",
    "ImageDataset",
    "Picture",
    "Reject",
    "Split",
    "TrainingStream",
    "absolute_spec",
    "describe",
    "example_counts",
    "load_data",
    "load_for_model",
    "loader",
    "read_counts",
    "read_pictures",
    "toy",
    "toy_log_density",
    "toy_masses",
    "toy_score",
]
