"""What a U-Net is made of; no torch is imported here, so that a command line can offer its settings at once."""

import math
from dataclasses import dataclass

from nelbo.errors import ConfigurationError, ShapeError

MOST = {"channels": 1024, "base": 1 << 16, "blocks": 256, "heads": 1 << 16, "groups": 1 << 16}  # no network has more


@dataclass(frozen=True)
class UNetOptions:
    """What a `UNet` is made of. Levels are counted from 0, the full resolution; each further level halves both sides.

    Attributes:
        channels: channels of the image.
        base: feature channels that `multipliers` multiply; the time embedding has 4 * base.
        multipliers: one per level; their number is the number of levels.
        blocks: residual blocks per level going down; going up there is one more.
        attention: levels at which self-attention follows each residual block.
        middle_attention: whether attention stands between the two blocks at the bottom.
        heads: heads of each attention.
        head_width: channels of each head, whose number then differs with the level's; None to go by `heads`.
        groups: groups of each GroupNorm; must divide every `base * multiplier`.
        norm_eps: what each GroupNorm adds to a variance.
        dropout: probability, inside each residual block.
        learned_variance: put out 2 * channels; the second half parameterizes the variance.
        num_classes: classes of a conditional network, or None.
        fourier: exponents n; sin(2^n pi x) and cos(2^n pi x) of each channel join the input (Kingma et al. 2021).
        slopes: exponents n; tanh(2^n d) joins the input, d the differences of each pixel to its neighbours at the left
            and above, in units of their root mean square over the image. What tells a photograph's pixel from its
            neighbours is a few levels: without this it takes long to be seen beside the image itself.
        symmetric_padding: pad what is halved by a pixel on all sides; else on the right and below only.
        first_time, frequency_shift: of the time embedding, see `Condition`.
        checkpointing: recompute each block in the backward pass, trading time for memory.
    """

    channels: int = 3
    base: int = 128
    multipliers: tuple[int, ...] = (1, 2, 2, 2)
    blocks: int = 2
    attention: tuple[int, ...] = (1,)
    middle_attention: bool = True
    heads: int = 1
    head_width: int | None = None
    groups: int = 32
    norm_eps: float = 1e-6
    dropout: float = 0.1
    learned_variance: bool = False
    num_classes: int | None = None
    fourier: tuple[int, ...] = ()
    slopes: tuple[int, ...] = ()
    symmetric_padding: bool = False
    first_time: int = 1
    frequency_shift: int = 1
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("multipliers", "attention", "fourier", "slopes"):  # JSON has lists only
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in ("channels", "base", "blocks", "heads", "groups"):
            if not 1 <= getattr(self, name) <= MOST[name]:
                raise ConfigurationError(f"`{name}` is {getattr(self, name)}, but must be within 1..{MOST[name]}")
        if not self.multipliers or min(self.multipliers) < 1:
            raise ConfigurationError(f"`multipliers` is {self.multipliers}, but needs one positive integer per level")
        if max(self.widths) > MOST["base"]:
            raise ConfigurationError(f"a level has {max(self.widths)} channels, but {MOST['base']} is the most")
        if self.base % 2 or self.base < 4:
            raise ConfigurationError(f"`base` is {self.base}, but must be an even number, at least 4")
        if not 0 < self.norm_eps < 1:
            raise ConfigurationError(f"`norm_eps` is {self.norm_eps}, but must be within 0 and 1")
        if not 0 <= self.frequency_shift < self.base // 2:
            raise ConfigurationError(
                f"`frequency_shift` is {self.frequency_shift}, but must be within 0..{self.base // 2 - 1}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"`dropout` is {self.dropout}, but must be in [0, 1)")
        for level in self.attention:
            if not 0 <= level < len(self.multipliers):
                raise ConfigurationError(
                    f"`attention` names level {level}, but `multipliers` makes levels 0..{len(self.multipliers) - 1}"
                )
        for width in self.widths:
            if width % self.groups:
                raise ConfigurationError(
                    f"`groups` is {self.groups}, which does not divide {width} channels; "
                    f"{math.gcd(*self.widths, self.groups)} would"
                )
            if self.head_width is None and width % self.heads:
                raise ConfigurationError(f"`heads` is {self.heads}, which does not divide {width} channels")
        for width in self.attended:
            if self.head_width is not None and (self.head_width < 1 or width % self.head_width):
                raise ConfigurationError(f"`head_width` is {self.head_width}, which does not divide {width} channels")

    @property
    def widths(self) -> tuple[int, ...]:
        """Feature channels of each level."""
        return tuple(self.base * multiplier for multiplier in self.multipliers)

    @property
    def attended(self) -> tuple[int, ...]:
        """Feature channels of each level with attention, and of the bottom where that has it."""
        levels = tuple(self.widths[level] for level in self.attention)
        return (*levels, self.widths[-1]) if self.middle_attention else levels

    def heads_at(self, width: int) -> int:
        """Heads of an attention over `width` channels."""
        return self.heads if self.head_width is None else width // self.head_width

    def check_size(self, height: int, width: int) -> None:
        """Raise `ShapeError`, naming the nearest sizes that work, unless both sides can be halved at every level."""
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
            f"sides must be multiples of {factor}; the nearest sizes are {choice}: change `--size` or use fewer levels"
        )
