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
        values: the value of the damage, under its own name, and options such as "method"; None means not given.

    Raises:
        ConfigurationError: an unknown damage, or an option that it does not support.
    """
    kind = DAMAGES[known(name, DAMAGES, "damage")]
    given = {key: value for key, value in values.items() if value is not None}
    own = kind.own_options()
    if name not in own:  # given by a flag alone, such as colour
        given.pop(name, None)
    for key in given:
        if key not in own:
            raise ConfigurationError(f"{option(name)} does not support {option(key)}; remove it.")
    return kind(**given)
