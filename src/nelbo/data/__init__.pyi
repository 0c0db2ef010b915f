from .batches import TrainingStream, loader
from .counts import example_counts, read_counts
from .datasets import ArrayDataset, ImageDataset, Reject, Split
from .folder_dataset import FolderDataset
from .folders import DataWarning
from .given import digest_of, fingerprint
from .image_names import names_of
from .inputs import Images, Single, as_dataset, as_mask, as_picture, as_pixels
from .loading import load_data
from .names import KNOWN_DENSITY, KNOWN_SCORE, MEMORY_PREFIX, absolute_spec
from .npy_dataset import NpyDataset
from .pictures import Picture, read_picture, read_pictures
from .preparing import Prepared, load_for_model
from .report import DataReport, describe
from .scale import Scale
from .toy_sets import toy, toy_log_density, toy_masses, toy_score
from .values import as_measured, write_values

__all__ = [
    "KNOWN_DENSITY",
    "KNOWN_SCORE",
    "MEMORY_PREFIX",
    "ArrayDataset",
    "DataReport",
    "DataWarning",
    "FolderDataset",
    "ImageDataset",
    "Images",
    "NpyDataset",
    "Picture",
    "Prepared",
    "Reject",
    "Scale",
    "Single",
    "Split",
    "TrainingStream",
    "absolute_spec",
    "as_dataset",
    "as_mask",
    "as_measured",
    "as_picture",
    "as_pixels",
    "describe",
    "digest_of",
    "example_counts",
    "fingerprint",
    "load_data",
    "load_for_model",
    "loader",
    "names_of",
    "read_counts",
    "read_picture",
    "read_pictures",
    "toy",
    "toy_log_density",
    "toy_masses",
    "toy_score",
    "write_values",
]
