"""The shapes of the classifier, and impossible sizes."""

import pytest
import torch

from nelbo.errors import ConfigurationError
from nelbo.networks import Classifier, ClassifierOptions


def test_output_shapes():
    network = Classifier(ClassifierOptions((3, 9, 8), 5, (8, 16), 6)).eval()
    x_0 = torch.randn(4, 3, 9, 8)
    assert network.features(x_0).shape == (4, 6)
    assert torch.equal(network(x_0), network.output(network.features(x_0).relu()))


@pytest.mark.parametrize(
    "wrong", [{"num_classes": 1}, {"num_features": 0}, {"widths": ()}, {"shape": (1, 8, 8), "widths": (8, 8, 8, 8)}]
)
def test_impossible_sizes_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=r"must be at least|can be halved"):
        ClassifierOptions(**wrong)
