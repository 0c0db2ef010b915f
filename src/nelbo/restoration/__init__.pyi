from . import damages
from .damages import (
    DAMAGE_NAMES,
    DAMAGES,
    METHODS,
    ColourDamage,
    ImageDamage,
    LinearDamage,
    MaskDamage,
    NoiseDamage,
    StrengthDamage,
    UpscaleDamage,
    Walk,
    build_damage,
)
from .denoising import denoise, entry_step, posterior_mean
from .draws import Restoration
from .editing import edit
from .entry import entering
from .null_space import NullSpace, held_to, unknown_variance, within_range
from .operators import LUMA, Average, Damage, Grey, Identity, Mask
from .repaint import RePaintSampler, visits

__all__ = [
    "DAMAGES",
    "DAMAGE_NAMES",
    "LUMA",
    "METHODS",
    "Average",
    "ColourDamage",
    "Damage",
    "Grey",
    "Identity",
    "ImageDamage",
    "LinearDamage",
    "Mask",
    "MaskDamage",
    "NoiseDamage",
    "NullSpace",
    "RePaintSampler",
    "Restoration",
    "StrengthDamage",
    "UpscaleDamage",
    "Walk",
    "build_damage",
    "damages",
    "denoise",
    "edit",
    "entering",
    "entry_step",
    "held_to",
    "posterior_mean",
    "unknown_variance",
    "visits",
    "within_range",
]
