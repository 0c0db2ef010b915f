"""Sets in memory at the size and the mode that are asked for, split into a training part and a held-out part."""

from collections.abc import Callable
from dataclasses import replace

from nelbo.data.arrays import warn_of_low_levels
from nelbo.data.datasets import ArrayDataset, ImageDataset, Loaded, Split
from nelbo.data.decoding import conform
from nelbo.data.held_out import split_off
from nelbo.data.names import CHANNELS, MODE_OF, Mode, Range, Size
from nelbo.data.npy_dataset import NpyDataset
from nelbo.data.scanning import refuse_larger
from nelbo.display import counted
from nelbo.errors import ConfigurationError, DataError, option


def split_loaded(
    source: Loaded,
    size: Size | None,
    mode: Mode | None,
    largest: int | None,
    range: Range | str,
    held_out: float | None,
    seed: int,
    attach: Callable[[ImageDataset], ImageDataset] | None = None,
) -> Split:
    """Split a set in memory at the requested size and mode; see `nelbo.data.load_data` for the options.

    Args:
        range: "auto", "full" or (low, high), by which the set is to have been read.
        attach: returns the images with what lies beside them, before they are split; None for nothing.

    Raises:
        DataError: the set cannot be converted, or its images are larger than `largest`.
        ConfigurationError: `held_out` for a set that has a held-out part, or another range than that of the set.

    Warns:
        DataWarning: all levels are low, as in images of two levels; see `warn_of_low_levels`.
    """
    warn_of_low_levels(source)
    train, test = _conformed_parts(source, size, mode, largest)
    limits = _range_of(source, range)
    if attach is not None:
        if test is not None:
            named = " or ".join(map(option, ("mask", "table", "condition_images")))
            raise ConfigurationError(
                f"{train.name} has a held-out part of its own, for which {named} cannot be given; in Python, give a "
                "`nelbo.data.Split` of two sets `nelbo.data.ConditionedDataset`."
            )
        train = attach(train)
    if test is None:
        return replace(split_off(train, held_out, seed), limits=limits)
    if held_out is not None:
        raise ConfigurationError(
            f"{option('held_out')} is {held_out}, but {train.name} has its own held-out part of "
            f"{counted(len(test), 'image')}; leave {option('held_out')} out."
        )
    return Split(train, test, limits)


def _range_of(source: Loaded, range: Range | str) -> Range | None:
    """Return the range by which images were read; if that is not known, the range that is given.

    Raises:
        ConfigurationError: they differ.
    """
    found = source.limits
    if isinstance(range, str) or found in (None, range):
        return found if isinstance(range, str) else range
    given, read = (f"{low:.12g},{high:.12g}" for low, high in (range, found))
    raise ConfigurationError(
        f"{option('range')} is {given}, but the images were read by {read}; leave it out, or read them again."
    )


def _conformed_parts(
    source: Loaded, size: Size | None, mode: Mode | None, largest: int | None
) -> tuple[ImageDataset, ImageDataset | None]:
    """Return the parts of a set in memory at the requested size and mode; the second is None if it has one part."""
    refuse_larger(source.train.shape[1:], largest, f"each image of {source.train.name}")
    options = f"{option('size')} and {option('mode')}"
    train = conformed(source.train, size, mode, options)
    return train, None if source.test is None else conformed(source.test, size, mode, options)


def conformed(dataset: ImageDataset, size: Size | None, mode: Mode | None, options: str) -> ImageDataset:
    """Return `dataset` at the size and mode that `options` ask for, or unchanged if it has them already."""
    channels, *sides = dataset.shape
    resized = size is not None and size != tuple(sides)
    if not resized and mode in (None, MODE_OF.get(channels)):
        return dataset
    if channels not in MODE_OF:
        raise DataError(f"{dataset.name} has {channels} values per point and is not an image set; leave out {options}.")
    if dataset.levels != 256 and (resized or channels == CHANNELS["RGB"]):
        raise DataError(
            f"{dataset.name} has {dataset.levels} levels and {sides[0]} x {sides[1]} pixels; resizing or mixing its "
            f"channels would make levels that it does not have; leave out {options}."
        )
    if isinstance(dataset, NpyDataset):
        return dataset.fitted(size or (sides[0], sides[1]), mode or MODE_OF[channels])
    images = conform(dataset.images(range(len(dataset))), size, mode)
    return ArrayDataset(images, dataset.levels, dataset.labels, dataset.name, dataset.class_names, dataset.rejects)
