"""A small convolutional classifier, whose features a Frechet distance compares."""

import math
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.networks.classifier_options import ClassifierOptions


class Classifier(nn.Module):
    """A map from x_0 (B, C, H, W) in [-1, 1] to logits (B, num_classes), through `features`."""

    def __init__(self, options: ClassifierOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or ClassifierOptions()
        steps: list[nn.Module] = []
        for narrow, wide in pairwise((options.shape[0], *options.widths)):
            steps += [
                nn.Conv2d(narrow, wide, 3, padding=1, bias=False),
                nn.BatchNorm2d(wide),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        lowest = math.prod(side >> len(options.widths) for side in options.shape[1:])
        steps += [nn.Flatten(), nn.Linear(options.widths[-1] * lowest, options.num_features)]
        self.steps = nn.Sequential(*steps)
        self.output = nn.Linear(options.num_features, options.num_classes)

    def features(self, x_0: Tensor) -> Tensor:
        """Return the layer before the last, (B, num_features), before its ReLU, where it is nearer to a Gaussian."""
        return self.steps(x_0)  # type: ignore[no-any-return]

    def forward(self, x_0: Tensor) -> Tensor:
        """Return the logits (B, num_classes)."""
        return self.output(F.relu(self.features(x_0)))  # type: ignore[no-any-return]
