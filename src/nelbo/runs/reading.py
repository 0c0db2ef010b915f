"""Images for a model, read and converted as its training images were."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nelbo.data import (
    Beside,
    ConditionedDataset,
    ImageDataset,
    Images,
    Prepared,
    as_dataset,
    load_for_model,
    prepare_measured,
)
from nelbo.data.measured import masked, warn_of_rounding
from nelbo.data.missing import with_missing, without_nan
from nelbo.data.names import path_of
from nelbo.data.stored import StoredImage
from nelbo.data.values import as_measured
from nelbo.errors import ShapeError, option
from nelbo.progress import Progress
from nelbo.runs.conditions import with_beside
from nelbo.runs.data_options import DataOptions

RESIZE = "resize them"  # data sets and images of other than 256 levels, which are not resized


def read(
    data: DataOptions,
    folder: Path,
    spec: str,
    *,
    resize: bool = True,
    progress: Progress | None = None,
    in_place: bool = False,
    beside: Beside | None = None,
) -> Prepared:
    """Read every image that a spec names.

    Args:
        data: the images that the model was trained on.
        folder: of the model, for messages.
        spec: see `nelbo.data.load_for_model`.
        resize: see there.
        progress: see there.
        in_place: leave the images in their files, instead of in memory as far as they fit.
        beside: what lies beside the images.

    Raises:
        ShapeError: images of another shape that are not resized.
        DataError: no image can be used, or one has no pair.
    """
    pairs, scale = beside or Beside(), data.level_scale
    if scale is not None:
        found = prepare_measured(spec, scale, pairs)
        return replace(found, images=dataset_for(data, folder, found.images))
    options: dict[str, Any] = {"memory_budget": 0} if in_place else {}
    found = load_for_model(spec, data.shape, resize=resize, progress=progress, limits=data.range, **options)
    pairs = with_missing(pairs, found.missing, f"the images of {spec}")
    if pairs.given:
        files = [StoredImage(name) for name in found.names]
        found = replace(found, images=pairs.attached(found.images, files, path_of(spec), resized=found.resized > 0))
    return replace(found, images=dataset_for(data, folder, found.images, f"leave out {option('resize', False)}"))


def dataset_for(
    data: DataOptions, folder: Path, images: Images, remedy: str = RESIZE, beside: Beside | None = None
) -> ImageDataset:
    """Return images as a data set of a model's shape.

    Args:
        data: the images that the model was trained on.
        folder: of the model, for messages.
        images: of any kind that `nelbo.data.as_dataset` takes; of measured values an array, a tensor or a path.
        remedy: how the caller can convert images of another shape, for the message.
        beside: what lies beside them, in memory.

    Raises:
        ShapeError: images of another shape.
        DataError: another number of levels, or images that cannot be used.
    """
    pairs = beside or Beside()
    if data.level_scale is not None and not isinstance(images, ImageDataset):
        values, pairs = masked(as_measured(images), pairs, None)
        warn_of_rounding(values, data.level_scale)
        dataset: ImageDataset = values.levels(data.level_scale)
    else:
        images, pairs = without_nan(images, pairs)
        dataset = as_dataset(images, data.shape, data.num_levels, data.range)
    dataset.require_levels(data.num_levels)
    if dataset.shape != data.shape:
        raise ShapeError(
            f"the images are {_by(dataset.shape)} (channels x height x width), and the model in {folder} needs "
            f"{_by(data.shape)}; {remedy}, or choose another model."
        )
    if isinstance(dataset, ConditionedDataset) and not pairs.given:
        return dataset.scaled_by(data.scale)
    return with_beside(dataset, data, pairs)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
