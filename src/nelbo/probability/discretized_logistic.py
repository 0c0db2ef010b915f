"""A logistic distribution integrated over the bins of K levels (Salimans et al. 2017, PixelCNN++)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.display import Brief
from nelbo.probability.levels import levels_to_data
from nelbo.randomness import Generators, uniform


@dataclass(frozen=True)
class DiscretizedLogistic(Brief):
    """The mass of a logistic distribution in the bin of each of K levels; the bins are those of `DiscretizedGaussian`.

    For a = (upper end - mean) / scale and b = (lower end - mean) / scale, the mass of a bin is
    sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), which no distance from the mean makes 0.

    Attributes:
        mean, scale: of the distribution, on data in [-1, 1]; they broadcast against each other. The standard deviation
            is pi / sqrt(3) times the scale.
        levels: K.
    """

    mean: Tensor
    scale: Tensor
    levels: int = 256

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Return the log-mass of data x_0 on the K levels, nats per dimension, in the dtype of x_0."""
        half = 1 / (self.levels - 1)
        middle = (x_0 - self.mean) / self.scale
        reach = half / self.scale
        below = torch.where(x_0 > 1 - half, 0.0, F.logsigmoid(middle + reach))
        above = torch.where(x_0 < -1 + half, 0.0, F.logsigmoid(reach - middle))
        edge = (x_0.abs() > 1 - half).expand_as(middle)
        between = torch.where(edge, 0.0, torch.log(-torch.expm1(-2 * reach)).expand_as(middle))
        return (below + above + between).to(x_0.dtype)

    def sample(self, generator: Generators) -> Tensor:
        """Draw data x_0 on the K levels: a draw of the distribution, rounded to the nearest level."""
        shape = torch.broadcast_shapes(self.mean.shape, self.scale.shape)
        u = uniform(shape, generator, self.mean).clamp(1e-7, 1 - 1e-7)
        draw = (self.mean + self.scale * (u.log() - (-u).log1p()) + 1) * ((self.levels - 1) / 2)
        return levels_to_data(draw.round().clamp(0, self.levels - 1), self.levels, self.mean.dtype)

    @property
    def stddev(self) -> Tensor:
        """The standard deviation, in the shape of `scale`."""
        return self.scale * (math.pi / math.sqrt(3))
