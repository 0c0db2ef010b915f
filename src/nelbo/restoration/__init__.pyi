from .denoising import denoise, entry_step, posterior_mean
from .draws import Restoration
from .editing import edit
from .entry import entering
from .null_space import NullSpace, held_to, unknown_variance, within_range
from .operators import LUMA, Average, Damage, Grey, Identity, Mask
from .repaint import RePaintSampler, visits

__all__ = [
    "LUMA",
    "Average",
    "Damage",
    "Grey",
    "Identity",
    "Mask",
    "NullSpace",
    "RePaintSampler",
    "Restoration",
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
