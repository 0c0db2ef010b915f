"""The options of the decoder p(x_0|x_1). No torch is imported here."""

from dataclasses import dataclass
from typing import Annotated

from nelbo.errors import ConfigurationError, setting
from nelbo.networks.pixel_options import PixelOptions
from nelbo.options import Doc, known

DECODERS = ("gaussian", "pixels")


@dataclass(frozen=True)
class DecoderOptions:
    """The decoder p(x_0|x_1) of L_0, and how the pixel network is trained once the diffusion network is finished.

    Raises:
        ConfigurationError: a value outside its range.
    """

    kind: Annotated[
        str,
        Doc("gaussian (eq. 13), or pixels (section 3.3: a network over passes of pixels; end the chain at log SNR 4)."),
    ] = "gaussian"
    hidden: Annotated[int, Doc("Features of each hidden layer of the pixel network.")] = 192
    blocks: Annotated[int, Doc("Residual blocks of the pixel network.")] = 3
    side: Annotated[int, Doc("Side of the squares whose pixels become known one by one: 2, 4, 8 or 16.")] = 4
    convolved: Annotated[
        int, Doc("How many of these blocks, in the middle, are convolutions over pixels that become known together.")
    ] = 0
    window: Annotated[
        int,
        Doc(
            "Side of the window around a pixel that the network reads: 5, 7 or 9. Above 5, it is wider in the first "
            "passes."
        ),
    ] = 5
    share: Annotated[
        float,
        Doc(
            "Fraction of the training budget that the pixel network gets. Of a budget in steps, 16 short ones replace "
            "each step."
        ),
    ] = 0.2
    refinement: Annotated[
        float,
        Doc(
            "Fraction of the training budget that the network of the digits of images of more than 256 levels gets; 0 "
            "for other images."
        ),
    ] = 0.0
    batch_size: Annotated[
        int,
        Doc(
            "Images per optimizer step of the pixel network; each is used in an eighth of the passes, at least in two."
        ),
    ] = 32
    learning_rate: Annotated[float, Doc("Learning rate of the pixel network after the warm-up.")] = 2.5e-3

    def __post_init__(self) -> None:
        known(self.kind, DECODERS, "decoder")
        PixelOptions(
            hidden=self.hidden, blocks=self.blocks, side=self.side, convolved=self.convolved, window=self.window
        )
        if not 0 < self.share < 1:
            raise ConfigurationError(f"{setting('decoder.share')} must be between 0 and 1, got {self.share}.")
        if not 0 <= self.refinement < 1 - self.share:
            raise ConfigurationError(
                f"{setting('decoder.refinement')} must be at least 0 and below {1 - self.share:g}, which "
                f"{setting('decoder.share', self.share)} leaves; got {self.refinement}."
            )
