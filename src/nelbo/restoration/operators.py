"""Linear damages y = A x_0, each with its pseudo-inverse A+.

Each A has a single nonzero singular value: A A^T = gain^2 I on the range of A. Hence I - A+ A is an orthogonal
projection, and noise of standard deviation s in y is noise of s / gain in A+ y, the same in every measured direction.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from nelbo.errors import ConfigurationError, ShapeError

MEAN = (1 / 3, 1 / 3, 1 / 3)
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, by which nelbo.data converts colour to grey


class Damage(Protocol):
    """A linear map A of images x_0 (B, C, H, W), as data in [-1, 1], to a measurement y.

    Examples:
        Means of 2 x 2 squares, and the smallest image with these means:

        >>> import torch
        >>> from nelbo.restoration import Average
        >>> damage = Average(2)
        >>> y = damage(torch.arange(16.0).view(1, 1, 4, 4))
        >>> y.flatten().tolist(), damage.gain
        ([2.5, 4.5, 10.5, 12.5], 0.5)
        >>> torch.equal(damage(damage.inverse(y)), y)
        True
    """

    @property
    def gain(self) -> float:
        """The nonzero singular value of A."""

    def __call__(self, x_0: Tensor) -> Tensor:
        """Return A x_0."""

    def inverse(self, y: Tensor) -> Tensor:
        """Return A+ y (B, C, H, W): the image of smallest norm with A A+ y = y."""


@dataclass(frozen=True)
class Identity:
    """No loss: y = x_0, for measurements that are only noisy."""

    gain: float = 1.0

    def __call__(self, x_0: Tensor) -> Tensor:
        """Return x_0."""
        return x_0

    def inverse(self, y: Tensor) -> Tensor:
        """Return y."""
        return y


@dataclass(frozen=True, eq=False)
class Mask:
    """Missing pixels: y is x_0 where a pixel is known, and 0 elsewhere.

    Attributes:
        kept: bool (H, W), (C, H, W) or (B, C, H, W): true where a pixel is known.
    """

    kept: Tensor
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.kept.dtype != torch.bool:
            raise ShapeError(f"a mask must be bool, true where a pixel is known, got {self.kept.dtype}.")

    def __call__(self, x_0: Tensor) -> Tensor:
        """Return x_0 with zeros at the missing pixels, even where x_0 is NaN."""
        return torch.where(self.kept.to(x_0.device), x_0, torch.zeros_like(x_0))

    def inverse(self, y: Tensor) -> Tensor:
        """Return the same as `__call__`."""
        return self(y)


@dataclass(frozen=True)
class Average:
    """Downsampling: each square of `size` x `size` pixels becomes its mean."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigurationError(f"`size` must be a whole number of pixels, 1 or more, got {self.size}.")

    @property
    def gain(self) -> float:
        """1 / size."""
        return 1 / self.size

    def __call__(self, x_0: Tensor) -> Tensor:
        """Return the means (B, C, H / size, W / size).

        Raises:
            ShapeError: H or W is not a multiple of the size.
        """
        if x_0.shape[-2] % self.size or x_0.shape[-1] % self.size:
            raise ShapeError(
                f"images of {x_0.shape[-2]} x {x_0.shape[-1]} pixels cannot be divided into squares of {self.size} x "
                f"{self.size}."
            )
        return avg_pool2d(x_0, self.size)

    def inverse(self, y: Tensor) -> Tensor:
        """Return each value repeated over its square."""
        return y.repeat_interleave(self.size, -2).repeat_interleave(self.size, -1)


@dataclass(frozen=True)
class Grey:
    """Colour to grey: y is a weighted sum of the channels.

    Attributes:
        weights: the weight of each channel, with the sum 1: equal weights, or `LUMA`.
    """

    weights: tuple[float, ...] = MEAN

    def __post_init__(self) -> None:
        if not math.isclose(sum(self.weights), 1, rel_tol=1e-6):
            raise ConfigurationError(f"the weights of the channels must have the sum 1, got {self.weights}.")

    @property
    def gain(self) -> float:
        """The Euclidean norm of the weights."""
        return math.hypot(*self.weights)

    def __call__(self, x_0: Tensor) -> Tensor:
        """Return the weighted sum (B, 1, H, W).

        Raises:
            ShapeError: the images have another number of channels.
        """
        if x_0.shape[1] != len(self.weights):
            raise ShapeError(f"there are weights for {len(self.weights)} channels, but the images have {x_0.shape[1]}.")
        return (x_0 * self._column(x_0)).sum(1, keepdim=True)

    def inverse(self, y: Tensor) -> Tensor:
        """Return y times weights / |weights|^2. With equal weights this is the grey image itself."""
        return y * self._column(y) / self.gain**2

    def _column(self, like: Tensor) -> Tensor:
        return torch.tensor(self.weights, dtype=like.dtype, device=like.device).view(-1, 1, 1)
