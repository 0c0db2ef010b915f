"""The config.json of diffusers' `AutoencoderKL`, read as `AutoencoderOptions` and written from them."""

from dataclasses import dataclass

from nelbo.errors import ConfigurationError
from nelbo.interop.settings import Accepted, refuse_others
from nelbo.latent import AutoencoderOptions

DOWN, UP = "DownEncoderBlock2D", "UpDecoderBlock2D"


@dataclass(frozen=True)
class AutoencoderConfig:
    """Every setting of `AutoencoderKL`, with its default."""

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[str, ...] = (DOWN,)
    up_block_types: tuple[str, ...] = (UP,)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    act_fn: str = "silu"
    latent_channels: int = 4
    norm_num_groups: int = 32
    sample_size: int | tuple[int, ...] = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


# Settings for which nelbo's autoencoder has one choice.
ONE_WAY: dict[str, Accepted] = {
    "act_fn": Accepted("silu", "swish"),
    "use_quant_conv": Accepted(True),
    "use_post_quant_conv": Accepted(True),
}


def options_of(config: AutoencoderConfig) -> AutoencoderOptions:
    """Convert an autoencoder's settings; the scale of p(x|z) is one number, which diffusers does not have.

    Raises:
        ConfigurationError: a setting without a counterpart, by name; or invalid sizes.
    """
    refuse_others(ONE_WAY, vars(config))
    widths, sides = config.block_out_channels, config.sample_size
    for name, kind in (("down_block_types", DOWN), ("up_block_types", UP)):
        if getattr(config, name) != (kind,) * len(widths):
            raise ConfigurationError(
                f"{name} is {list(getattr(config, name))}; expected {kind} for each of {len(widths)} "
                "block_out_channels."
            )
    if config.in_channels != config.out_channels:
        raise ConfigurationError(
            f"in_channels is {config.in_channels} and out_channels is {config.out_channels}; expected the same number."
        )
    if not widths or widths[0] < 1 or any(width % widths[0] for width in widths):
        raise ConfigurationError(f"block_out_channels is {list(widths)}; each must be a multiple of the first.")
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return AutoencoderOptions(
        shape=(config.in_channels, height, width),
        latent=config.latent_channels,
        base=widths[0],
        multipliers=tuple(each // widths[0] for each in widths),
        blocks=config.layers_per_block,
        groups=config.norm_num_groups,
        middle_attention=config.mid_block_add_attention,
        pixel_scale=False,
    )


def config_of(options: AutoencoderOptions) -> AutoencoderConfig:
    """Convert an autoencoder to diffusers' settings; its latents are scaled already, so their factor is 1."""
    _, height, width = options.shape
    levels = len(options.widths)
    return AutoencoderConfig(
        in_channels=options.shape[0],
        out_channels=options.shape[0],
        down_block_types=(DOWN,) * levels,
        up_block_types=(UP,) * levels,
        block_out_channels=options.widths,
        layers_per_block=options.blocks,
        latent_channels=options.latent,
        norm_num_groups=options.groups,
        sample_size=height if height == width else (height, width),
        scaling_factor=1.0,
        force_upcast=False,
        mid_block_add_attention=options.middle_attention,
    )
