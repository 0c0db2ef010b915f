"""A small convolutional classifier, for its features: what a Frechet distance looks through."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.errors import ConfigurationError


@dataclass(frozen=True)
class ClassifierOptions:
    """What a `Classifier` is made of.

    Attributes:
        shape: (C, H, W) of the images.
        num_classes: how many it tells apart.
        widths: feature channels at each resolution; the sides are halved behind each.
        num_features: D of the layer before the last.
    """

    shape: tuple[int, int, int] = (1, 28, 28)
    num_classes: int = 10
    widths: tuple[int, ...] = (16, 32, 64)
    num_features: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has lists only
        object.__setattr__(self, "widths", tuple(self.widths))
        for name, least in (("num_classes", 2), ("num_features", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least {least}")
        if not self.widths or min(self.shape[1:]) >> len(self.widths) < 1:
            raise ConfigurationError(
                f"`widths` has {len(self.widths)} entries, but images of {self.shape[1]} x {self.shape[2]} can be "
                f"halved 1 to {min(self.shape[1:]).bit_length() - 1} times"
            )


class Classifier(nn.Module):
    """x_0 (B, C, H, W) in [-1, 1] -> (B, num_classes) logits, by way of `features`."""

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
        """(B, num_features): the layer before the last, before its ReLU, where it is closer to a Gaussian."""
        return self.steps(x_0)  # type: ignore[no-any-return]

    def forward(self, x_0: Tensor) -> Tensor:
        """(B, num_classes) logits."""
        return self.output(F.relu(self.features(x_0)))  # type: ignore[no-any-return]
