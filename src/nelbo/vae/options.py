"""The options of a VAE. No torch is imported here."""

import math
from dataclasses import dataclass

from nelbo.errors import ConfigurationError
from nelbo.options import Annotated, Doc

DECODERS = ("discretized", "gaussian")


@dataclass(frozen=True)
class VAEOptions:
    """The options of a `VAE`."""

    shape: Annotated[tuple[int, int, int], Doc("(C, H, W) of the images; 2^depth must divide H and W.")] = (1, 28, 28)
    levels: Annotated[int, Doc("Number of levels K of the images.")] = 256
    latent: Annotated[int, Doc("Dimensions of z.")] = 32
    base: Annotated[int, Doc("Feature channels after the first halving; each further halving doubles them.")] = 32
    depth: Annotated[int, Doc("Halvings of both sides.")] = 2
    blocks: Annotated[int, Doc("Residual blocks at the lowest resolution, in encoder and decoder each.")] = 1
    hidden: Annotated[int, Doc("Features of the layer between the lowest resolution and z.")] = 256
    decoder: Annotated[
        str, Doc('Kind of p(x|z): "discretized", a Gaussian over the K levels (eq. 13), or "gaussian", a density.')
    ] = "discretized"
    stddev: Annotated[
        float, Doc("Standard deviation of p(x|z), on data in [-1, 1]; the initial value if it is learned.")
    ] = 0.5
    learned_stddev: Annotated[bool, Doc("Learn the standard deviation of p(x|z), one for all pixels.")] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has only lists
        for name, least in (("levels", 2), ("latent", 1), ("base", 1), ("depth", 0), ("blocks", 0), ("hidden", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be at least {least}.")
        if not (math.isfinite(self.stddev) and self.stddev > 0):
            raise ConfigurationError(f"`stddev` is {self.stddev}, but must be a finite number above 0.")
        if self.decoder not in DECODERS:
            raise ConfigurationError(f"`decoder` is {self.decoder!r}, but must be {' or '.join(DECODERS)}.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels after each halving; one entry, `base`, if `depth` is 0."""
        return tuple(self.base * 2**level for level in range(max(self.depth, 1)))

    @property
    def lowest(self) -> tuple[int, int, int]:
        """(C, H, W) of the features at the lowest resolution."""
        _, height, width = self.shape
        return self.widths[-1], height >> self.depth, width >> self.depth
