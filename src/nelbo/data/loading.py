"""From a spec to the images to train on and those held out: open the source, read it, split it."""

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nelbo.data.array_places import in_place
from nelbo.data.beside import Beside
from nelbo.data.conditions import of_one_scale
from nelbo.data.conforming import split_loaded
from nelbo.data.datasets import ImageDataset, Loaded, Split
from nelbo.data.given import collect
from nelbo.data.held_out import check_held_out
from nelbo.data.inputs import Images
from nelbo.data.measured import load_measured
from nelbo.data.missing import with_missing, without_nan
from nelbo.data.names import (
    AUTO,
    MEMORY_BUDGET,
    MODES,
    ON_REJECT,
    Mode,
    Range,
    Size,
    check_measured,
    is_stream,
    path_of,
    read_range,
    read_size,
    spec_of,
)
from nelbo.data.ranges import choice_of_range
from nelbo.data.scanning import build, first, scan
from nelbo.data.sources import Listed, open_source
from nelbo.data.stored import digest_of_names
from nelbo.data.streams import check_stream, load_stream
from nelbo.display import counted
from nelbo.errors import ConfigurationError, DataError, option, shown
from nelbo.options import check_whole, is_one_of
from nelbo.progress import Progress


def load_data(
    spec: str | os.PathLike[str] | Images | Split,
    *,
    size: int | Size | str | None = None,
    mode: Mode | None = None,
    held_out: float | None = None,
    on_reject: str = "skip",
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | bool | None = None,
    memory_budget: int = MEMORY_BUDGET,
    largest: int | None = None,
    range: Range | str = AUTO,
    quantum: float | None = None,
    mask: Any = None,
    table: Any = None,
    condition_images: Any = None,
    num_images: int | None = None,
) -> Split:
    """Load the images that `spec` names or holds, split into a training part and a held-out part.

    >>> split = load_data("digits")
    >>> split.train.shape, split.train.levels, len(split.train), len(split.test)
    ((1, 8, 8), 17, 1500, 297)

    Args:
        spec: "digits", "fashion-mnist", "toy:NAME", or a path: a folder of images (classes from its sub-folders), one
            image, an IDX folder, a `.npy` or `.npz` file, a `.tar` shard, a folder of them, or `shards/{000..009}.tar`;
            a data set of Hugging Face, "hf:OWNER/NAME", a folder that `save_to_disk` wrote, or Parquet files; or a
            stream, "stream:" before shards or such a data set, or the URL of shards (see `StreamDataset`).
            A built-in name goes before a path of that name; write ./digits for the folder. Or images in memory: an
            array, a tensor, a list of images of any kind, a data set, or a `Split`, which is used as it is.
        size: side, (H, W) or "WIDTHxHEIGHT" in pixels, to which images are resized and cropped; needed where sizes
            differ.
        mode: "L" or "RGB"; None takes RGB if any image has colour. `nelbo.data.decoding` states the whole policy.
        held_out: fraction or number of images to hold out, None for 5% (1 to 10,000 images). Must be None for sets with
            a held-out part of their own: digits, fashion-mnist, the toy sets and IDX folders with t10k files.
        on_reject: "skip" leaves out files that cannot be decoded and lists them in `.rejects`; "stop" raises.
        workers: threads that scan a folder; None for one per usable processor, 0 to scan in the calling thread.
        seed: chooses the held-out images and draws the toy points.
        progress: True for a progress bar, or a function that is called with (images done, images in all), while files
            are scanned.
        memory_budget: bytes of pixels to keep in memory; a larger set is decoded as it is read (`FolderDataset`,
            `NpyDataset`). A `.npz` file is compressed, and is always read whole.
        largest: longest side in pixels of images that are not resized, or None for any.
        range: the values (low, high) or "LOW,HIGH" that become 0 and 255 in images of more than 8 bits; "full" for
            those of the depth of each file; "auto" for the smallest depth of 8, 10, 12, 14 or 16 bits that holds every
            value of the set. For arrays, see `nelbo.data.arrays.as_levels`. A data set and a
            `Split` hold levels already; their range is the one by which they were made.
        quantum: keep the values of an array, a folder or a file as they were measured, in up to 65,536 levels that are
            this far apart: see `nelbo.data.values`. `range` then has the values of the first and the last level.
        mask: which pixels are missing: a folder of mask pictures, white there, with the names of the images; or bool
            (H, W), (N, H, W) or (N, C, H, W), true there. NaN in an array or a `.npy` file is a missing pixel without
            this.
        table: numbers to condition on: a CSV file with the column `image` of file names, or numbers (N, V).
        condition_images: images to condition on: a folder with the names of the images; or N images in memory. They are
            as large as the images, or smaller by a whole factor.
        num_images: number of images of a stream, held-out ones included, if its source does not state it; None to count
            them by reading it once. None for other data.

    Raises:
        DataError: the data is missing, empty or damaged, has several sizes, or is larger than `largest`.
        ConfigurationError: an invalid argument, or `held_out` or another range for a set that has its own.

    Warns:
        DataWarning: images had more than 8 bits, and other ways in which the data is read that may not be expected.
    """
    check_whole("seed", seed, None)
    range = read_range(range)
    side = read_size(size)
    shape = (side, side) if isinstance(side, int) else side
    if mode is not None and not is_one_of(mode, MODES):
        raise ConfigurationError(f"{option('mode')} is {shown(mode)}; expected L (grey) or RGB.")
    if not is_one_of(on_reject, ON_REJECT):
        raise ConfigurationError(f"{option('on_reject')} is {shown(on_reject)}; expected {' or '.join(ON_REJECT)}.")
    if workers is not None:
        check_whole("workers", workers, 0)
    check_whole("memory_budget", memory_budget, 0)
    if largest is not None:
        check_whole("largest", largest)
    check_held_out(held_out)
    if num_images is not None:
        check_whole("num_images", num_images, 2)
    if isinstance(spec, str) and is_stream(spec):
        check_stream(spec, quantum, Beside(mask, table, condition_images))
        options = (on_reject, num_images, workers, progress, None if shape else largest, range)
        return load_stream(spec, shape, mode, held_out, *options)
    if num_images is not None:
        raise ConfigurationError(f"{option('num_images')} is for a stream, which {shown(spec)} is not; leave it out.")
    if quantum is not None:
        check_measured(quantum, shape, mode)
    if quantum is not None and not isinstance(spec, ImageDataset | Split):
        beside = Beside(mask, table, condition_images)
        return of_one_scale(load_measured(spec, range, quantum, held_out, on_reject, seed, beside))
    largest = largest if shape is None else None
    spec, beside = without_nan(spec, Beside(mask, table, condition_images))
    source: Loaded | Listed
    root: Path | None = None
    if not isinstance(spec, str | os.PathLike):
        source = collect(spec, shape, mode, range)
    else:
        spec = spec_of(spec)
        root = path_of(spec)
        source = in_place(spec, range, memory_budget) or open_source(spec, seed, range)
    if isinstance(source, Loaded):
        beside = with_missing(beside, source.missing, f"the images of {source.train.name}")
        attach = partial(beside.attached, files=None, root=None) if beside.given else None
        return of_one_scale(split_loaded(source, shape, mode, largest, range, held_out, seed, attach))
    source.listing.warn()
    found = scan(source.listing, shape, workers, progress, memory_budget, largest, range)
    found.warn(choice_of_range())
    if on_reject == "stop" and found.rejects:
        raise DataError(
            f"{spec}: {counted(len(found.rejects), 'file')} cannot be used: {first(found.rejects)}; repair or remove "
            f"such files, or leave them out with {option('on_reject', 'skip')}."
        )
    built = build(found, shape, mode, memory_budget)
    whole, held = beside.attached(built, found.files, root, resized=shape is not None), None
    if source.listing.held_out:
        apart = torch.tensor([stored.path in source.listing.held_out for stored in found.files])
        whole, held = whole.subset((~apart).nonzero().flatten()), whole.subset(apart.nonzero().flatten())
    split = split_loaded(Loaded(source.kind, whole, held, found.limits), None, None, None, AUTO, held_out, seed)
    return of_one_scale(replace(split, names=digest_of_names(found.files)))
