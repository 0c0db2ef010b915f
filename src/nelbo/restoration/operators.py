"""Damages that are linear, y = A x_0, each with its pseudo-inverse A+.

All have one singular value besides 0: A A^T = gain^2 I where y lies. So I - A+ A is an orthogonal projection, and noise
of standard deviation s in y is noise of s / gain in A+ y, alike in every direction that A sees.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from nelbo.errors import ConfigurationError, ShapeError

MEAN = (1 / 3, 1 / 3, 1 / 3)
LUMA = (0.299, 0.587, 0.114)  # Rec. 601, by which nelbo.data makes colour grey


class Damage(Protocol):
    """A, from images x_0 (B, C, H, W) as data in [-1, 1] to what is left of them."""

    @property
    def gain(self) -> float:
        """The singular value of A that is not 0."""

    def __call__(self, x_0: Tensor) -> Tensor:
        """A x_0."""

    def inverse(self, y: Tensor) -> Tensor:
        """A+ y (B, C, H, W): the smallest image with A A+ y = y."""


@dataclass(frozen=True)
class Identity:
    """Nothing is lost; what was measured may be noisy."""

    gain: float = 1.0

    def __call__(self, x_0: Tensor) -> Tensor:
        """x_0 itself."""
        return x_0

    def inverse(self, y: Tensor) -> Tensor:
        """y itself."""
        return y


@dataclass(frozen=True, eq=False)
class Mask:
    """Pixels are missing: y is x_0 where they were kept, and 0 elsewhere.

    Attributes:
        kept: bool (H, W), (C, H, W) or (B, C, H, W): true where a pixel is known.
    """

    kept: Tensor
    gain: float = 1.0

    def __post_init__(self) -> None:
        if self.kept.dtype != torch.bool:
            raise ShapeError(f"a mask is of true (kept) and false (missing), got {self.kept.dtype}.")

    def __call__(self, x_0: Tensor) -> Tensor:
        """Zeros where pixels are missing, whatever stood there."""
        return torch.where(self.kept.to(x_0.device), x_0, torch.zeros_like(x_0))

    def inverse(self, y: Tensor) -> Tensor:
        """The same."""
        return self(y)


@dataclass(frozen=True)
class Average:
    """Each square of `size` x `size` pixels became its mean: the image is so many times smaller."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ConfigurationError(f"an image can be made 1, 2, ... times smaller, not {self.size} times.")

    @property
    def gain(self) -> float:
        """1 / size."""
        return 1 / self.size

    def __call__(self, x_0: Tensor) -> Tensor:
        """Means (B, C, H / size, W / size). Raises ShapeError where the squares don't fill the image."""
        if x_0.shape[-2] % self.size or x_0.shape[-1] % self.size:
            raise ShapeError(f"images of {x_0.shape[-2]} x {x_0.shape[-1]} have no whole {self.size} x {self.size}s.")
        return avg_pool2d(x_0, self.size)

    def inverse(self, y: Tensor) -> Tensor:
        """Each value repeated over its square."""
        return y.repeat_interleave(self.size, -2).repeat_interleave(self.size, -1)


@dataclass(frozen=True)
class Grey:
    """Colour became grey.

    Attributes:
        weights: what each channel counts, in all 1: their mean, or `LUMA`.
    """

    weights: tuple[float, ...] = MEAN

    def __post_init__(self) -> None:
        if not math.isclose(sum(self.weights), 1, rel_tol=1e-6):
            raise ConfigurationError(f"the weights of the channels must add up to 1, got {self.weights}.")

    @property
    def gain(self) -> float:
        """The length of the weights."""
        return math.hypot(*self.weights)

    def __call__(self, x_0: Tensor) -> Tensor:
        """(B, 1, H, W). Raises ShapeError for another number of channels."""
        if x_0.shape[1] != len(self.weights):
            raise ShapeError(f"{len(self.weights)} channels are weighed, and the images have {x_0.shape[1]}.")
        return (x_0 * self._column(x_0)).sum(1, keepdim=True)

    def inverse(self, y: Tensor) -> Tensor:
        """y times weights / |weights|^2; with equal weights grey itself."""
        return y * self._column(y) / self.gain**2

    def _column(self, like: Tensor) -> Tensor:
        return torch.tensor(self.weights, dtype=like.dtype, device=like.device).view(-1, 1, 1)
