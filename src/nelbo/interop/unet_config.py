"""The config.json of diffusers' `UNet2DModel`, read as `UNetOptions` and written from them."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError, option, setting
from nelbo.interop.settings import Accepted, refuse_others
from nelbo.networks import UNetOptions

MOST_SIDE = 1 << 14  # pixels
PLAIN, ATTENTION = "{}Block2D", "Attn{}Block2D"


@dataclass(frozen=True)
class UNetConfig:
    """Every setting of `UNet2DModel`, with its default."""

    sample_size: int | tuple[int, ...] | None = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: int = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D")
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str = "conv"
    upsample_type: str = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int | None = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None


# Settings for which nelbo's U-Net has one choice.
ONE_WAY: dict[str, Accepted] = {
    "center_input_sample": Accepted(False),
    "time_embedding_type": Accepted("positional"),
    "mid_block_type": Accepted("UNetMidBlock2D"),
    "mid_block_scale_factor": Accepted(1),
    "downsample_padding": Accepted(0, 1),
    "downsample_type": Accepted("conv"),
    "upsample_type": Accepted("conv"),
    "act_fn": Accepted("silu", "swish"),
    "resnet_time_scale_shift": Accepted("default"),
    "class_embed_type": Accepted(None),
    "num_class_embeds": Accepted(
        None, why="conditional networks of nelbo also learn 'no class', which such a network does not"
    ),
    "num_train_timesteps": Accepted(None),
}


def options_of(config: UNetConfig) -> UNetOptions:
    """Convert a network's settings to `UNetOptions`, except `flip_sin_to_cos`: the weights are reordered instead.

    Raises:
        ConfigurationError: a setting without a counterpart, by name; or invalid sizes.
    """
    refuse_others(ONE_WAY, vars(config))
    base, groups = _base(config), _groups(config)
    return UNetOptions(
        channels=config.in_channels,
        base=base,
        multipliers=tuple(width // base for width in config.block_out_channels),
        blocks=config.layers_per_block,
        attention=_attention(config),
        middle_attention=config.add_attention,
        head_width=config.attention_head_dim,
        groups=groups,
        norm_eps=config.norm_eps,
        dropout=config.dropout,
        learned_variance=_learned_variance(config),
        symmetric_padding=config.downsample_padding == 1,
        first_time=0,
        frequency_shift=config.freq_shift,
    )


def image_shape(config: UNetConfig, size: int | None = None) -> tuple[int, int, int]:
    """Return (C, H, W) of the images. `size` replaces `sample_size`, on which the network does not depend.

    Raises:
        ConfigurationError: both are None, or it is not a size.
        ShapeError: the network cannot halve this size at each level.
    """
    side = config.sample_size if size is None else size
    if side is None:
        raise ConfigurationError(f"sample_size is null; set the side of the images, such as {option('size', 32)}.")
    sides = (side, side) if isinstance(side, int) else side
    if len(sides) != 2 or not 1 <= min(sides) <= max(sides) <= MOST_SIDE:
        raise ConfigurationError(
            f"sample_size is {side}; expected a side, or a height and a width, within 1..{MOST_SIDE}."
        )
    options_of(config).check_size(*sides)
    return config.in_channels, sides[0], sides[1]


def config_of(options: UNetOptions, shape: tuple[int, int, int]) -> UNetConfig:
    """Convert a network for images of `shape` (C, H, W) to diffusers' settings, without its input features.

    Its classes are followed by one more, "no class".

    Raises:
        ConfigurationError: its heads of attention differ in width, or it takes a mask, numbers or an image beside x_t.
        ShapeError: it pads images of this size, which diffusers' network does not.
    """
    options.check_size(*shape[1:])
    if options.masked or options.condition_size is not None or options.condition_channels is not None:
        raise ConfigurationError(
            "the network takes a mask of missing pixels, numbers or an image beside x_t, which diffusers' network does "
            f"not; use {option('format', 'torch')}."
        )
    levels = range(len(options.multipliers))
    blocks = [ATTENTION if level in options.attention else PLAIN for level in levels]
    return UNetConfig(
        sample_size=shape[1] if shape[1] == shape[2] else shape[1:],
        in_channels=options.channels,
        out_channels=options.channels * (2 if options.learned_variance else 1),
        freq_shift=options.frequency_shift,
        flip_sin_to_cos=False,
        down_block_types=tuple(block.format("Down") for block in blocks),
        up_block_types=tuple(block.format("Up") for block in reversed(blocks)),
        block_out_channels=options.widths,
        layers_per_block=options.blocks,
        downsample_padding=int(options.symmetric_padding),
        dropout=options.dropout,
        attention_head_dim=_head_dim(options),
        norm_num_groups=options.groups,
        norm_eps=options.norm_eps,
        add_attention=options.middle_attention,
        num_class_embeds=None if options.num_classes is None else options.num_classes + 1,
    )


def _base(config: UNetConfig) -> int:
    """Return the base width: all widths are multiples of it, and the time embedding has four times as many channels."""
    widths, embedded = config.block_out_channels, config.time_embedding_dim
    if not widths or widths[0] < 1 or any(width % widths[0] for width in widths):
        raise ConfigurationError(f"block_out_channels is {list(widths)}; each must be a multiple of the first.")
    if embedded not in (None, 4 * widths[0]):
        raise ConfigurationError(
            f"time_embedding_dim is {embedded}; expected null or {4 * widths[0]}, four times the first entry of "
            "block_out_channels."
        )
    return widths[0]


def _groups(config: UNetConfig) -> int:
    """Return the number of groups of every norm."""
    groups, attended = config.norm_num_groups, config.attn_norm_num_groups
    if groups is None:
        raise ConfigurationError("norm_num_groups is null; expected a whole number.")
    if attended not in (None, groups):
        raise ConfigurationError(
            f"attn_norm_num_groups is {attended} and norm_num_groups is {groups}; nelbo needs the same number of "
            "groups in all norms."
        )
    return groups


def _attention(config: UNetConfig) -> tuple[int, ...]:
    """Return the levels whose blocks have attention, down and up."""
    down, up = config.down_block_types, config.up_block_types[::-1]
    if not len(down) == len(up) == len(config.block_out_channels):
        raise ConfigurationError(
            f"there are {len(down)} down_block_types, {len(up)} up_block_types and {len(config.block_out_channels)} "
            "block_out_channels; expected one of each per level."
        )
    attended = []
    for level, pair in enumerate(zip(down, up, strict=True)):
        has = [_has_attention(block, way) for block, way in zip(pair, ("Down", "Up"), strict=True)]
        if has[0] != has[1]:
            raise ConfigurationError(
                f"level {level} is {pair[0]} on the way down and {pair[1]} on the way up; nelbo needs attention on "
                "both ways of a level, or on neither."
            )
        if has[0]:
            attended.append(level)
    return tuple(attended)


def _has_attention(block: str, way: str) -> bool:
    """Return whether a block type has attention; `way` is "Down" or "Up"."""
    names = {PLAIN.format(way): False, ATTENTION.format(way): True}
    if block not in names:
        raise ConfigurationError(
            f"{way.lower()}_block_types has {block!r}, which nelbo does not support; expected {' or '.join(names)}."
        )
    return names[block]


def _learned_variance(config: UNetConfig) -> bool:
    if config.out_channels not in (config.in_channels, 2 * config.in_channels):
        raise ConfigurationError(
            f"the network takes {config.in_channels} channels and outputs {config.out_channels}; expected the same "
            "number, or twice as many if it learns its variance."
        )
    return config.out_channels == 2 * config.in_channels


def _head_dim(options: UNetOptions) -> int | None:
    """Return the channels per attention head; None, as in diffusers, for a single head at every level."""
    if options.head_width is not None or options.heads == 1:
        return options.head_width
    widths = sorted(set(options.attended))
    dims = {width // options.heads for width in widths}
    if len(dims) > 1:
        raise ConfigurationError(
            f"attention has {options.heads} heads at levels of different widths ({', '.join(map(str, widths))} "
            f"channels), but in diffusers all heads have one width; train with {setting('network.head_width')} instead."
        )
    return dims.pop() if dims else None
