"""Damaged images restored by a model of whole ones: no training, and several answers where many fit."""

from nelbo.restoration.denoising import denoise, entry_step, posterior_mean
from nelbo.restoration.draws import Restoration
from nelbo.restoration.editing import edit
from nelbo.restoration.entering import entering
from nelbo.restoration.null_space import NullSpace, held_to, unknown_variance, within_range
from nelbo.restoration.operators import LUMA, Average, Damage, Grey, Identity, Mask
from nelbo.restoration.repaint import RePaintSampler, visits

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
