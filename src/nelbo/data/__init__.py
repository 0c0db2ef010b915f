"""Images from anywhere to uint8 tensors N x C x H x W of levels 0..K-1."""

from nelbo.data.batches import TrainingStream, loader
from nelbo.data.counts import example_counts, read_counts
from nelbo.data.datasets import ArrayDataset, ImageDataset, Reject, Split
from nelbo.data.loading import load_data, load_for_model
from nelbo.data.pictures import Picture, read_pictures
from nelbo.data.report import DataReport, describe
from nelbo.data.scanning import FolderDataset
from nelbo.data.sources import absolute_spec
from nelbo.data.toy import KNOWN_DENSITY, KNOWN_SCORE, toy, toy_log_density, toy_masses, toy_score

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
