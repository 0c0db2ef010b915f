"""What a VAE is made of; no torch is imported here."""

import math
from dataclasses import dataclass

from nelbo.errors import ConfigurationError

DECODERS = ("discretized", "gaussian")


@dataclass(frozen=True)
class VAEOptions:
    """What a `VAE` is made of.

    Attributes:
        shape: (C, H, W) of the images; both sides must be halved `depth` times.
        levels: K of the images.
        latent: dimensions of z.
        base: feature channels at full resolution's first halving; each further halving doubles them.
        depth: halvings of both sides.
        blocks: residual blocks at the lowest resolution, in either network.
        hidden: features of the layer between the lowest resolution and z.
        decoder: p(x|z) is a "discretized" Gaussian over the K levels (eq. 13), or a "gaussian" density.
        stddev: of p(x|z), one for all pixels, on data in [-1, 1]: where it begins if it is learned.
        learned_stddev: whether it is.
    """

    shape: tuple[int, int, int] = (1, 28, 28)
    levels: int = 256
    latent: int = 32
    base: int = 32
    depth: int = 2
    blocks: int = 1
    hidden: int = 256
    decoder: str = "discretized"
    stddev: float = 0.5
    learned_stddev: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has lists only
        for name, least in (("levels", 2), ("latent", 1), ("base", 1), ("depth", 0), ("blocks", 0), ("hidden", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least {least}")
        if not (math.isfinite(self.stddev) and self.stddev > 0):
            raise ConfigurationError(f"`stddev` is {self.stddev}, but must be a finite number above 0")
        if self.decoder not in DECODERS:
            raise ConfigurationError(f"`decoder` is {self.decoder!r}, but must be {' or '.join(DECODERS)}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels after each halving; one entry of `base` where nothing is halved."""
        return tuple(self.base * 2**level for level in range(max(self.depth, 1)))

    @property
    def lowest(self) -> tuple[int, int, int]:
        """(C, H, W) of the features at the lowest resolution."""
        _, height, width = self.shape
        return self.widths[-1], height >> self.depth, width >> self.depth
