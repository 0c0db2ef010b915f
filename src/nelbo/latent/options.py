"""The options of the autoencoder of a latent diffusion model, and of its training. No torch is imported here."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Self

from nelbo.errors import ConfigurationError, setting
from nelbo.options import Doc

LARGEST_SIDE = 32  # of the latents, if the multipliers are chosen by the size of the images
SMALLEST_FACTOR = 2  # halvings of each side, if the images are large enough
MOST = 1 << 16  # channels of a layer


@dataclass(frozen=True)
class AutoencoderOptions:
    """The options of an `Autoencoder`.

    Raises:
        ConfigurationError: a value outside its range.
    """

    shape: Annotated[tuple[int, int, int], Doc("(C, H, W) of the images; of any size.")] = (3, 64, 64)
    levels: Annotated[int, Doc("Number of levels K of the images.")] = 256
    latent: Annotated[int, Doc("Channels of z.")] = 4
    base: Annotated[int, Doc("Feature channels that `multipliers` multiply.")] = 32
    multipliers: Annotated[
        tuple[int, ...] | None,
        Doc(
            "Multiplier of `base` for each resolution; each further one halves both sides. None chooses 1, 2, 4 for "
            "images below 128 pixels, and a further 4 for each doubling from there on."
        ),
    ] = None
    blocks: Annotated[int, Doc("Residual blocks per resolution of the encoder; the decoder has one more.")] = 1
    groups: Annotated[int, Doc("Groups of each GroupNorm; must divide every base * multiplier.")] = 8
    middle_attention: Annotated[bool, Doc("Put self-attention between the two blocks at the bottom.")] = False
    pixel_scale: Annotated[
        bool, Doc("Learn the scale of p(x|z) for each pixel and channel; if false, one scale for all.")
    ] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))  # JSON has only lists
        if self.multipliers is not None:
            object.__setattr__(self, "multipliers", tuple(self.multipliers))
        for name, least in (("levels", 2), ("latent", 1), ("base", 4), ("blocks", 1), ("groups", 1)):
            if not least <= getattr(self, name) <= MOST:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be within {least}..{MOST}.")
        if self.multipliers is None:
            return
        if not self.multipliers or min(self.multipliers) < 1 or max(self.widths) > MOST:
            raise ConfigurationError(
                f"`multipliers` is {self.multipliers}, but needs one positive integer for each resolution, and at most "
                f"{MOST} channels."
            )
        for width in self.widths:
            if width % self.groups:
                raise ConfigurationError(
                    f"`groups` is {self.groups}, which does not divide {width} channels; "
                    f"{math.gcd(*self.widths, self.groups)} would."
                )

    def fitted(self, shape: tuple[int, int, int], levels: int) -> Self:
        """Return the options for images of `shape` (C, H, W) with K levels, with the multipliers chosen if None."""
        multipliers = self.multipliers
        if multipliers is None:
            halvings = SMALLEST_FACTOR
            while max(shape[1:]) / 2**halvings >= LARGEST_SIDE:
                halvings += 1
            multipliers = tuple(min(2**level, 4) for level in range(halvings + 1))
        return replace(self, shape=shape, levels=levels, multipliers=multipliers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of each resolution."""
        return tuple(self.base * multiplier for multiplier in self.multipliers or ())

    @property
    def factor(self) -> int:
        """How many pixels a side of a latent covers."""
        return int(2 ** (len(self.widths) - 1))

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(L, h, w) of z; images whose sides are no multiples of the factor are padded."""
        _, height, width = self.shape
        return self.latent, -(-height // self.factor), -(-width // self.factor)


@dataclass(frozen=True)
class FirstStageOptions:
    """How the autoencoder is trained, before the diffusion network.

    Raises:
        ConfigurationError: a value outside its range.
    """

    share: Annotated[float, Doc("Fraction of the training budget that the autoencoder gets.")] = 0.5
    batch_size: Annotated[int, Doc("Images per optimizer step of the autoencoder.")] = 16
    learning_rate: Annotated[float, Doc("Learning rate of the autoencoder after the warm-up.")] = 2e-3
    source: Annotated[
        str | None,
        Doc(
            "Run folder whose finished autoencoder is used as it is; the diffusion network then gets the whole budget. "
            "None trains one."
        ),
    ] = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ConfigurationError(f"{setting('first_stage.share')} must be between 0 and 1, got {self.share}.")
        if self.batch_size < 1:
            raise ConfigurationError(f"{setting('first_stage.batch_size')} must be at least 1, got {self.batch_size}.")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ConfigurationError(
                f"{setting('first_stage.learning_rate')} must be a finite number above 0, got {self.learning_rate}."
            )
