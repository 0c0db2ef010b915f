from .batches import TrainingStream, loader
from .beside import Beside, scale_of
from .conditions import ConditionedDataset, Scale, Takes, taken_by
from .counts import example_counts, read_counts
from .datasets import ArrayDataset, ImageDataset, Reject, Split
from .folder_dataset import FolderDataset
from .folders import DataWarning
from .given import fingerprint
from .inputs import Images, Single, as_dataset, as_mask, as_picture, as_pixels
from .loading import load_data
from .names import KNOWN_DENSITY, KNOWN_SCORE, MEMORY_PREFIX, absolute_spec
from .pictures import Picture, read_picture, read_pictures
from .preparing import Prepared, load_for_model
from .report import DataReport, describe
from .toy_sets import toy, toy_log_density, toy_masses, toy_score

__all__ = [
    "KNOWN_DENSITY",
    "KNOWN_SCORE",
    "MEMORY_PREFIX",
    "ArrayDataset",
    "Beside",
    "ConditionedDataset",
    "DataReport",
    "DataWarning",
    "FolderDataset",
    "ImageDataset",
    "Images",
    "Picture",
    "Prepared",
    "Reject",
    "Scale",
    "Single",
    "Split",
    "Takes",
    "TrainingStream",
    "absolute_spec",
    "as_dataset",
    "as_mask",
    "as_picture",
    "as_pixels",
    "describe",
    "example_counts",
    "fingerprint",
    "load_data",
    "load_for_model",
    "loader",
    "read_counts",
    "read_picture",
    "read_pictures",
    "scale_of",
    "taken_by",
    "toy",
    "toy_log_density",
    "toy_masses",
    "toy_score",
]
