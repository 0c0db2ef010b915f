"""The options of a U-Net. No torch is imported here, so the command line can offer the settings at once."""

import math
from dataclasses import dataclass

from nelbo.errors import ConfigurationError, ShapeError, option
from nelbo.networks.image_options import MOST_FEATURES, ImageOptions
from nelbo.options import Annotated, Doc

# no network has more
MOST = {"channels": 1024, "base": MOST_FEATURES, "blocks": 256, "heads": MOST_FEATURES, "groups": MOST_FEATURES}


@dataclass(frozen=True)
class UNetOptions(ImageOptions):
    """The options of a `UNet`. Levels are counted from 0, the full resolution; each further level halves both sides."""

    channels: Annotated[int, Doc("Channels of the image.")] = 3
    base: Annotated[int, Doc("Feature channels that `multipliers` multiply; the time embedding has 4 * base.")] = 128
    multipliers: Annotated[tuple[int, ...], Doc("Multiplier of `base` for each level.")] = (1, 2, 2, 2)
    blocks: Annotated[int, Doc("Residual blocks per level going down; going up there is one more.")] = 2
    attention: Annotated[tuple[int, ...], Doc("Levels at which self-attention follows each residual block.")] = (1,)
    middle_attention: Annotated[bool, Doc("Put self-attention between the two blocks at the bottom.")] = True
    heads: Annotated[int, Doc("Heads of each self-attention.")] = 1
    head_width: Annotated[int | None, Doc("Channels of each head; replaces `heads` unless it is None.")] = None
    groups: Annotated[int, Doc("Groups of each GroupNorm; must divide every base * multiplier.")] = 32
    norm_eps: Annotated[float, Doc("Number that each GroupNorm adds to a variance.")] = 1e-6
    dropout: Annotated[float, Doc("Probability of dropout inside each residual block.")] = 0.1
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
        Doc(
            "Exponents n: tanh(2^n d) joins the input, where d is the difference of each pixel to its left and upper "
            "neighbours, divided by the root mean square of all differences in the image."
        ),
    ] = ()
    symmetric_padding: Annotated[
        bool, Doc("Pad all sides by a pixel before each halving; if false, the right and the bottom only.")
    ] = False
    first_time: Annotated[int, Doc("Number that the time embedding gets for t = 1.")] = 1
    frequency_shift: Annotated[
        int, Doc("1 if the last frequency of the time embedding is 1e-4; 0 if 1e-4 is the one after it.")
    ] = 1
    checkpointing: Annotated[bool, Doc("Recompute each block in the backward pass, to save memory.")] = False

    def __post_init__(self) -> None:
        for name in ("multipliers", "attention", "fourier", "slopes"):  # JSON has only lists
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("channels", "base", "blocks", "heads", "groups"):
            if not 1 <= getattr(self, name) <= MOST[name]:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be within 1..{MOST[name]}.")
        self.check_conditions()
        if not self.multipliers or min(self.multipliers) < 1:
            raise ConfigurationError(f"`multipliers` is {self.multipliers}, but needs one positive integer per level.")
        if max(self.widths) > MOST["base"]:
            raise ConfigurationError(
                f"a level has {max(self.widths)} channels, but must have at most {MOST['base']}; lower `base` or "
                "`multipliers`."
            )
        if self.base % 2 or self.base < 4:
            raise ConfigurationError(f"`base` is {self.base}, but must be an even number, at least 4.")
        if not 0 < self.norm_eps < 1:
            raise ConfigurationError(f"`norm_eps` is {self.norm_eps}, but must be between 0 and 1.")
        if not 0 <= self.frequency_shift < self.base // 2:
            raise ConfigurationError(
                f"`frequency_shift` is {self.frequency_shift}, but must be within 0..{self.base // 2 - 1}."
            )
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"`dropout` is {self.dropout}, but must be in [0, 1).")
        for level in self.attention:
            if not 0 <= level < len(self.multipliers):
                raise ConfigurationError(
                    f"`attention` has level {level}, but `multipliers` has levels 0..{len(self.multipliers) - 1}."
                )
        self._check_divisions()

    def _check_divisions(self) -> None:
        """Check that groups and heads divide the channels of every level."""
        for width in self.widths:
            if width % self.groups:
                raise ConfigurationError(
                    f"`groups` is {self.groups}, which does not divide {width} channels; "
                    f"{math.gcd(*self.widths, self.groups)} would."
                )
            if self.head_width is None and width % self.heads:
                raise ConfigurationError(f"`heads` is {self.heads}, which does not divide {width} channels.")
        for width in self.attended:
            if self.head_width is not None and (self.head_width < 1 or width % self.head_width):
                raise ConfigurationError(f"`head_width` is {self.head_width}, which does not divide {width} channels.")

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of each level."""
        return tuple(self.base * multiplier for multiplier in self.multipliers)

    @property
    def attended(self) -> tuple[int, ...]:
        """Feature channels of each level with attention, then of the bottom if it has attention."""
        levels = tuple(self.widths[level] for level in self.attention)
        return (*levels, self.widths[-1]) if self.middle_attention else levels

    def heads_at(self, width: int) -> int:
        """Return the number of heads of a self-attention over `width` channels."""
        return self.heads if self.head_width is None else width // self.head_width

    def padded(self, side: int) -> int:
        """Return the side to which the network pads a side: a multiple of 2^(levels - 1)."""
        halvings = len(self.multipliers) - 1
        return (side + (1 << halvings) - 1) >> halvings << halvings

    def check_size(self, height: int, width: int) -> None:
        """Check that both sides of an image can be halved at every level, as networks without padding need.

        Raises:
            ShapeError: a side cannot; the message names the nearest sizes that work.
        """
        factor = 2 ** (len(self.multipliers) - 1)
        if height % factor == 0 and width % factor == 0 and height > 0 and width > 0:
            return
        smaller, larger = (
            f"{max(down(height / factor), 1) * factor} x {max(down(width / factor), 1) * factor}"
            for down in (math.floor, math.ceil)
        )
        choice = larger if smaller == larger else f"{smaller} or {larger}"
        raise ShapeError(
            f"images of {height} x {width} (height x width) do not fit a U-Net of {len(self.multipliers)} levels: both "
            f"sides must be multiples of {factor}; the nearest sizes are {choice}: change {option('size')} or use "
            "fewer levels."
        )
