"""Options of the pixel network; no torch is imported here."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError, setting
from nelbo.options import Annotated, Doc, check_types

SIDES = (2, 4, 8, 16)  # of the squares whose pixels become known one after another
WINDOW = 5  # side of the window of format version 1
WINDOWS = (WINDOW, 7, 9)


@dataclass(frozen=True)
class PixelOptions:
    """Size of the pixel network.

    Raises:
        ConfigurationError: a value outside its range.
    """

    channels: Annotated[int, Doc("Channels of the image.")] = 1
    hidden: Annotated[int, Doc("Features of each hidden layer.")] = 32
    levels: Annotated[int, Doc("Grey levels K of a pixel.")] = 256
    blocks: Annotated[int, Doc("Residual blocks of two layers; with 0, the network has three convolutions.")] = 0
    side: Annotated[int, Doc("Side of the squares whose pixels become known one by one: 2, 4, 8 or 16.")] = 2
    convolved: Annotated[int, Doc("How many residual blocks, in the middle, are convolutions over a pass.")] = 0
    window: Annotated[
        int,
        Doc(
            "Side of the window around a pixel that the network reads: 5, 7 or 9. Above 5, the pixels of a window are "
            "as far apart as those that are known after the stage of the pass."
        ),
    ] = WINDOW

    @property
    def reads_x_1(self) -> bool:
        """Whether the evidence includes x_1 itself; the plain network of format version 1 reads xhat_0 alone."""
        return self.blocks > 0

    @property
    def inputs(self) -> int:
        """Numbers that the network reads for each pixel; `nelbo.diffusion.pixel_decoder.features` lists them."""
        return (6 if self.reads_x_1 else 3) * self.channels

    @property
    def dilated(self) -> bool:
        """Whether the pixels of a window are far apart in the first stages of the passes."""
        return self.window > WINDOW

    @property
    def stages(self) -> int:
        """How many stages the places of a square have; see `nelbo.diffusion.passes.Pass.stage`."""
        return 2 * self.side.bit_length() - 1

    @property
    def window_inputs(self) -> int:
        """Numbers that a network with blocks reads for a pixel; see `nelbo.networks.pixel_windows`."""
        if not self.dilated:
            return self.inputs * self.window**2
        return (7 * self.window**2 + 2) * self.channels + self.stages

    def is_convolved(self, block: int) -> bool:
        """Whether the first layer of a residual block, counted from 0, reads 3x3 pixels of the pass."""
        first = (self.blocks - self.convolved) // 2
        return first <= block < first + self.convolved

    def __post_init__(self) -> None:
        check_types(self)
        for name, least in (("channels", 1), ("hidden", 1), ("levels", 2), ("blocks", 0), ("convolved", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"the {name} of a pixel network must be at least {least}, got {getattr(self, name)}."
                )
        if self.convolved > self.blocks:
            raise ConfigurationError(
                f"the convolved of a pixel network must be at most its blocks, {self.blocks}, got {self.convolved}."
            )
        for name, allowed in (("side", SIDES), ("window", WINDOWS)):
            if getattr(self, name) not in allowed:
                words = f"{', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
                raise ConfigurationError(f"{setting(f'decoder.{name}')} must be {words}, got {getattr(self, name)}.")
        if self.dilated and not self.blocks:
            raise ConfigurationError(
                f"a window of {self.window} needs residual blocks; set {setting('decoder.blocks')} to at least 1."
            )
