"""The condition of a model that draws images: numbers, an image and a mask, as people give them."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
from nelbo.data import Beside, ConditionedDataset, ImageDataset, Single, as_dataset, as_mask
from nelbo.data.conditions import repeated
from nelbo.errors import ConfigurationError, DataError, option, shown
from nelbo.recipes.assembly import is_conditioned
from nelbo.recipes.recipe import Recipe
from nelbo.runs.data_options import DataOptions

Numbers = Mapping[str, float] | Sequence[float] | Sequence[Sequence[float]] | Tensor


def condition_for(
    data: DataOptions,
    num: int,
    *,
    vector: Numbers | None = None,
    condition_image: Single | Sequence[Single] | ImageDataset | None = None,
    mask: Single | None = None,
) -> Condition:
    """Return the condition of `num` images of a model.

    Args:
        data: the images that the model was trained on.
        vector: the numbers by column, or in the order of the columns (V,), or for each image (num, V), in the units of
            the table; NaN, or a column that is left out, is unknown.
        condition_image: one image for all, or one for each; resized to the size of those in training.
        mask: pixels that are missing, which the model then does not draw: see `nelbo.data.as_mask`.

    Raises:
        ConfigurationError: something that the model does not take, or numbers of other columns.
        DataError: an image that cannot be used, or another number of images.
        ShapeError: a mask of another size.
    """
    named = {"vector": (vector, data.columns), "condition_image": (condition_image, data.condition_shape)}
    for name, (given, taken) in {**named, "mask": (mask, data.masked)}.items():
        if given is not None and not taken:
            raise ConfigurationError(f"the model was not trained with such a condition; remove {option(name)}.")
    return Condition(
        vector=None if vector is None else _numbers(data, vector, num),
        image=None if condition_image is None else _images(data, condition_image, num),
        observed=None if mask is None else _observed(data, mask, num),
    )


def condition_like(images: ImageDataset | None, num: int) -> dict[str, Any]:
    """Return the options of `sample` that tell a model what lies beside the images of a set: of `num`, in turn."""
    if not isinstance(images, ConditionedDataset) or len(images) == 0:
        return {}
    rows, told_of = torch.arange(num) % len(images), dict[str, Any]()
    if images.numbers is not None:
        told_of["vector"] = images.numbers[rows]
    if images.paired is not None:
        told_of["condition_image"] = images.paired.subset(rows)
    return told_of


def with_beside(images: ImageDataset, data: DataOptions, beside: Beside) -> ImageDataset:
    """Return images with what lies beside them in memory, numbers standardised as those that a model was trained on."""
    attached = beside.attached(images, None, None, columns=data.columns)
    return attached.scaled_by(data.scale) if isinstance(attached, ConditionedDataset) else attached


def require_condition(recipe: Recipe, given: ConditionLike | None, guidance: float | None) -> None:
    """Check that guidance has a class or another condition to follow.

    Raises:
        ConfigurationError: a guidance scale, but no condition.
    """
    if guidance in (None, 1) or Condition.of(given).guides:
        return
    if is_conditioned(recipe):
        raise ConfigurationError(
            f"{option('guidance')} follows a condition; set {option('vector')} or {option('condition_image')}, or "
            f"remove {option('guidance')}."
        )
    if recipe.conditional:
        raise ConfigurationError(
            f"{option('guidance')} follows a class; set {option('label')} to a class, or remove {option('guidance')}."
        )


def _numbers(data: DataOptions, vector: Numbers, num: int) -> Tensor:
    columns, scale = data.columns, data.scale
    listed = ", ".join(columns)
    if isinstance(vector, Mapping):
        if unknown := [name for name in vector if name not in columns]:
            raise ConfigurationError(f"{option('vector')} has the column {unknown[0]!r}; expected {listed}.")
        vector = [float(vector.get(name, torch.nan)) for name in columns]
    try:
        numbers = torch.as_tensor(vector, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        numbers = torch.empty(0)
    if numbers.shape == (len(columns),):
        numbers = numbers.expand(num, -1)
    if numbers.shape != (num, len(columns)) or scale is None:
        raise ConfigurationError(
            f"{option('vector')} is {shown(vector)}; expected {len(columns)} numbers ({listed}), or as many for each "
            f"of the {num} images."
        )
    return scale.standardised(numbers)


def _images(data: DataOptions, given: Any, num: int) -> Tensor:
    assert data.condition_shape is not None
    images = as_dataset(given, data.condition_shape, 256)
    if images.shape != data.condition_shape:
        raise DataError(
            f"{option('condition_image')} has the shape {images.shape}; expected {data.condition_shape} (C x H x W)."
        )
    if len(images) not in (1, num):
        raise DataError(f"{option('condition_image')} holds {len(images)} images; expected one, or {num}.")
    shown_images = repeated(images.images(range(len(images))), images.levels, data.shape[1] // data.condition_shape[1])
    return shown_images.expand(num, -1, -1, -1)


def _observed(data: DataOptions, given: Single, num: int) -> Tensor:
    missing = as_mask(given)
    if missing.shape != data.shape[1:]:
        raise ConfigurationError(
            f"{option('mask')} is {missing.shape[1]}x{missing.shape[0]}; expected {data.shape[2]}x{data.shape[1]}."
        )
    return ~missing.expand(num, 1, *missing.shape)
