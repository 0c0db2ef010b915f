"""The data set in the package: 1,797 handwritten digits of 8 x 8 pixels and 17 levels."""

from importlib.resources import as_file, files

import numpy as np
import torch

from nelbo.data.datasets import ArrayDataset, Split
from nelbo.data.names import DIGITS

TRAIN = 1500


def load_digits() -> Split:
    """Load UCI's handwritten digits (see digits.LICENCE.md): the first 1,500 to train on, the last 297 held out."""
    with as_file(files("nelbo.data") / "digits.npz") as path, np.load(path, allow_pickle=False) as archive:
        images = torch.from_numpy(archive["images"])[:, None]  # N x 1 x 8 x 8
        labels = torch.from_numpy(archive["labels"]).long()
    everything = ArrayDataset(images, 17, labels, DIGITS, [str(digit) for digit in range(10)])
    return Split(everything.subset(torch.arange(TRAIN)), everything.subset(torch.arange(TRAIN, len(images))))
