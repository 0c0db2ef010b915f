"""The damages by name. A new damage needs an entry here, its name in `names`, and its option in `RestoreOptions`."""

from collections.abc import Mapping
from typing import Any

from nelbo.errors import ConfigurationError, option
from nelbo.options import known
from nelbo.restoration.damages.colour import ColourDamage
from nelbo.restoration.damages.damage import ImageDamage
from nelbo.restoration.damages.mask import MaskDamage
from nelbo.restoration.damages.noise import NoiseDamage
from nelbo.restoration.damages.strength import StrengthDamage
from nelbo.restoration.damages.upscale import UpscaleDamage

DAMAGES: dict[str, type[ImageDamage]] = {
    kind.name: kind for kind in (MaskDamage, NoiseDamage, UpscaleDamage, ColourDamage, StrengthDamage)
}


def build_damage(name: str, values: Mapping[str, Any]) -> ImageDamage:
    """Build a damage from options by name.

    Args:
        values: options by name, such as `vars(RestoreOptions(...))`. None means not given. Options that no damage has,
            such as `num`, are ignored.

    Raises:
        ConfigurationError: an unknown damage, or an option that only other damages have.
    """
    kind = DAMAGES[known(name, DAMAGES, "damage")]
    of_damages = {key for each in DAMAGES.values() for key in each.own_options()}
    given = {key: value for key, value in values.items() if key in of_damages and value is not None}
    for key in given:
        if key not in kind.own_options():
            raise ConfigurationError(f"{option(name)} does not support {option(key)}; remove {option(key)}.")
    return kind(**given)
