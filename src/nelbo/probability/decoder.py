"""What every decoder p(x_0|x_1) offers: masses of the K levels, draws, and a picture without drawn detail."""

from typing import Protocol

from torch import Tensor

from nelbo.randomness import Generators


class Decoder(Protocol):
    """p(x_0|x_1) for each example: a distribution of images on the K levels.

    `DiscretizedGaussian` (eq. 13) has independent dimensions; `nelbo.diffusion.PixelDecoder` has a chain of them.
    """

    @property
    def mean(self) -> Tensor:
        """(B, ...) the picture to show where no detail shall be drawn."""

    def log_prob(self, x_0: Tensor) -> Tensor:
        """Return the log-mass of data x_0 (B, ...) on the K levels, nats per dimension, in the order of the chain.

        The sum over an example is log p(x_0|x_1).
        """

    def sample(self, generator: Generators) -> Tensor:
        """Draw data x_0 (B, ...) on the K levels."""
