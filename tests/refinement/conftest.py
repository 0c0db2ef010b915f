"""A small refinement with random weights, so that its tables are far from uniform."""

import pytest
import torch

from nelbo.networks.digit_network import DigitNetwork
from nelbo.refinement import LevelSplit, Refinement
from nelbo.refinement.storage import options_for


@pytest.fixture(scope="session")
def make_refinement():
    def build(levels: int, channels: int = 1, seed: int = 0) -> Refinement:
        split = LevelSplit(levels)
        torch.manual_seed(seed)
        network = DigitNetwork(options_for(split, channels, 8))
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, 0, 0.1)
        return Refinement(split, network.exact())

    return build
