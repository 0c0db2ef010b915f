"""The options of a diffusion transformer. No torch is imported here, so the command line can offer the settings."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError
from nelbo.networks.image_options import MOST_FEATURES, ImageOptions
from nelbo.options import Annotated, Doc

MOST = {  # no network has more
    "channels": 1024,
    "width": MOST_FEATURES,
    "depth": 1024,
    "heads": MOST_FEATURES,
    "patch": 1024,
    "expansion": 64,
    "time_features": MOST_FEATURES,
}


@dataclass(frozen=True)
class DiTOptions(ImageOptions):
    """The options of a `DiT`; the defaults are DiT-S/2 of Peebles & Xie (2023)."""

    channels: Annotated[int, Doc("Channels of the image.")] = 3
    width: Annotated[int, Doc("Features of each token, a multiple of 4.")] = 384
    depth: Annotated[int, Doc("Transformer blocks.")] = 12
    heads: Annotated[int, Doc("Heads of each self-attention; must divide `width`.")] = 6
    patch: Annotated[int, Doc("Side in pixels of the square patches that become tokens.")] = 2
    expansion: Annotated[int, Doc("Hidden features of each block's perceptron, as a multiple of `width`.")] = 4
    time_features: Annotated[int, Doc("Sinusoids that embed the time, an even number.")] = 256
    dropout: Annotated[float, Doc("Probability of dropout after each attention and inside each perceptron.")] = 0.0
    learned_variance: Annotated[bool, Doc("Output 2 * channels; the second half parameterizes the variance.")] = False
    num_classes: Annotated[int | None, Doc("Classes of a conditional network; None for an unconditional one.")] = None
    condition_size: Annotated[int | None, Doc("Numbers of the vector to condition on; None for none.")] = None
    condition_channels: Annotated[int | None, Doc("Channels of the image to condition on; None for none.")] = None
    masked: Annotated[bool, Doc("Take images with missing pixels: which ones are observed joins the input.")] = False
    fourier: Annotated[
        tuple[int, ...],
        Doc("Exponents n: sin(2^n pi x) and cos(2^n pi x) of each channel join the input (Kingma et al. 2021)."),
    ] = ()
    slopes: Annotated[
        tuple[int, ...],
        Doc("Exponents n: tanh(2^n d) joins the input, with d as in the slopes of a U-Net."),
    ] = ()
    checkpointing: Annotated[bool, Doc("Recompute each block in the backward pass, to save memory.")] = False

    def __post_init__(self) -> None:
        for name in ("fourier", "slopes"):  # JSON has only lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, most in MOST.items():
            if not 1 <= getattr(self, name) <= most:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be within 1..{most}.")
        self.check_conditions()
        if self.width % 4:
            raise ConfigurationError(f"`width` is {self.width}, but must be a multiple of 4.")
        if self.width % self.heads:
            raise ConfigurationError(f"`heads` is {self.heads}, which does not divide {self.width} features.")
        if self.time_features % 2 or self.time_features < 4:
            raise ConfigurationError(f"`time_features` is {self.time_features}, but must be even and at least 4.")
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"`dropout` is {self.dropout}, but must be in [0, 1).")

    def padded(self, side: int) -> int:
        """Return the side to which the network pads a side: a multiple of `patch`."""
        return -(-side // self.patch) * self.patch
