from .colour import ColourDamage
from .damage import ImageDamage, Walk
from .linear import LinearDamage
from .mask import MaskDamage
from .names import DAMAGE_NAMES, METHODS
from .noise import NoiseDamage
from .registry import DAMAGES, build_damage
from .strength import StrengthDamage
from .upscale import UpscaleDamage

__all__ = [
    "DAMAGES",
    "DAMAGE_NAMES",
    "METHODS",
    "ColourDamage",
    "ImageDamage",
    "LinearDamage",
    "MaskDamage",
    "NoiseDamage",
    "StrengthDamage",
    "UpscaleDamage",
    "Walk",
    "build_damage",
]
