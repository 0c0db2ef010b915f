from .batches import TrainingStream, loader
from .beside import Beside, scale_of
from .conditions import ConditionedDataset, Scale, Takes, taken_by
from .counts import example_counts, read_counts
from .datasets import ArrayDataset, ImageDataset, Reject, Split
from .filling import Filled, filled
from .folder_dataset import FolderDataset
from .folders import DataWarning
from .given import digest_of, fingerprint
from .image_names import names_of
from .inputs import Images, Single, as_dataset, as_mask, as_picture, as_pixels
from .loading import load_data
from .measured import measured_dataset, prepare_measured
from .names import KNOWN_DENSITY, KNOWN_SCORE, MEMORY_PREFIX, absolute_spec
from .npy_dataset import NpyDataset
from .pictures import Picture, read_picture, read_pictures
from .preparing import Prepared, load_for_model
from .report import DataReport, describe
from .scale import LevelScale
from .stream_dataset import Example, ExampleStream, StreamDataset
from .toy_sets import toy, toy_log_density, toy_masses, toy_score
from .values import read_values, write_values

__all__ = [
    "KNOWN_DENSITY",
    "KNOWN_SCORE",
    "MEMORY_PREFIX",
    "ArrayDataset",
    "Beside",
    "ConditionedDataset",
    "DataReport",
    "DataWarning",
    "Example",
    "ExampleStream",
    "Filled",
    "FolderDataset",
    "ImageDataset",
    "Images",
    "LevelScale",
    "NpyDataset",
    "Picture",
    "Prepared",
    "Reject",
    "Scale",
    "Single",
    "Split",
    "StreamDataset",
    "Takes",
    "TrainingStream",
    "absolute_spec",
    "as_dataset",
    "as_mask",
    "as_picture",
    "as_pixels",
    "describe",
    "digest_of",
    "example_counts",
    "filled",
    "fingerprint",
    "load_data",
    "load_for_model",
    "loader",
    "measured_dataset",
    "names_of",
    "prepare_measured",
    "read_counts",
    "read_picture",
    "read_pictures",
    "read_values",
    "scale_of",
    "taken_by",
    "toy",
    "toy_log_density",
    "toy_masses",
    "toy_score",
    "write_values",
]
