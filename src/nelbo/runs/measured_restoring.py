"""Restoration of images of measured values: missing pixels drawn given the others, with every level of theirs."""

import os
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nelbo.data import LevelScale, Single, as_mask
from nelbo.data.values import as_measured
from nelbo.errors import ConfigurationError, DataError, ShapeError, option
from nelbo.randomness import FINE, image_generators
from nelbo.refinement import LevelSplit, Refinement
from nelbo.restoration import Restoration
from nelbo.runs.damaged import DamagedImage
from nelbo.runs.data_options import DataOptions
from nelbo.runs.diffusion_model import DiffusionModel
from nelbo.runs.restore_options import RestoreOptions
from nelbo.runs.restoring import draw_restoration

CHUNK = 16  # draws whose digits are drawn at once
NAN = "nan"  # the mask of the pixels that are NaN


def prepare_measured_damage(image: Single, options: RestoreOptions, data: DataOptions) -> DamagedImage:
    """Return the levels of an image of measured values, and the options with the mask of its missing pixels.

    A pixel with NaN in any channel is missing, and so is what a mask marks.

    Args:
        image: an array or a tensor (C, H, W) or (H, W), or a file.
        options: those of the restoration; the mask "nan" is that of the pixels that are NaN.
        data: those of the model.

    Raises:
        ConfigurationError: another damage than missing pixels, or no pixel is missing.
        DataError: a file that cannot be used, or values outside of the model's scale.
        ShapeError: another size or number of channels.
    """
    scale = data.level_scale
    assert scale is not None
    if options.damage != "mask":
        raise ConfigurationError(
            f"{option(options.damage)} needs a model of images of 8 bits; of measured values, missing pixels can be "
            f"restored: those of a {option('mask')}, or those that are NaN by {option('mask', NAN)}."
        )
    array = _array(image)
    if array.shape != data.shape:
        raise ShapeError(
            f"the damaged image is {' x '.join(map(str, array.shape))} (channels x height x width), and the model "
            f"needs {' x '.join(map(str, data.shape))}; cut it to this size."
        )
    missing = torch.from_numpy(np.isnan(array).any(0))
    if str(options.mask) != NAN:
        mask = as_mask(options.mask)
        if mask.shape != missing.shape:
            raise DataError(
                f"the mask is {mask.shape[1]}x{mask.shape[0]}, but the image is {array.shape[2]}x{array.shape[1]}; "
                "give the mask the size of the image."
            )
        missing |= mask
    if not bool(missing.any()):
        raise ConfigurationError(f"no pixel is missing; give a {option('mask')} that marks some, or an image with NaN.")
    levels = scale.to_levels(array, "the damaged image", missing.expand(data.shape).numpy())
    return DamagedImage(levels, replace(options, mask=missing))


def restore_measured(
    model: DiffusionModel, refinement: Refinement | None, image: Single, options: RestoreOptions
) -> Restoration:
    """Draw what the missing pixels of an image of measured values may have been; see `prepare_measured_damage`.

    The coarse levels are inpainted, then the digits of the missing pixels are drawn given those of the others. Known
    pixels come back exactly.
    """
    damaged = prepare_measured_damage(image, options, model.data)
    levels, total = damaged.pixels, model.data.num_levels
    if total <= 256:
        return draw_restoration(model, damaged, damaged.options)
    assert refinement is not None
    split = LevelSplit(total)
    coarse = draw_restoration(model, replace(damaged, pixels=split.coarse(levels)), damaged.options)
    known = levels.masked_fill(damaged.options.mask, -1)
    draws = [
        refinement.sample(some, image_generators(coarse.seed or 0, CHUNK * place, len(some), FINE), given=known)
        for place, some in enumerate(coarse.draws.split(CHUNK))
    ]
    return Restoration.of(torch.cat(draws), levels=total, seed=coarse.seed)


def values_of(restored: Restoration, scale: LevelScale, *, mean: bool = False) -> NDArray[Any]:
    """Return all draws (N, C, H, W) of measured values, or their mean (C, H, W), as an array in their own type."""
    return scale.to_values(restored.mean if mean else restored.draws)


def _array(image: Single) -> NDArray[Any]:
    """Return one image (C, H, W) of measured values."""
    in_memory = not isinstance(image, str | os.PathLike)
    values = as_measured(np.asarray(image)[None] if in_memory else image, "the damaged image")
    if len(values.arrays) != 1:
        raise DataError(f"{image} has {len(values.arrays)} images; restore them one at a time.")
    return values.arrays[0]
