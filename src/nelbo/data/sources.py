"""From a spec to a source of images: each kind of source is one function below and one entry of `KINDS`."""

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from nelbo.data.array_files import load_arrays
from nelbo.data.bundled import load_digits
from nelbo.data.datasets import Loaded
from nelbo.data.decoding import is_picture
from nelbo.data.folders import Listing, list_folder
from nelbo.data.hugging_face import is_table, list_table
from nelbo.data.idx import EXPECTED, FASHION_CLASSES, TEST, TRAIN, find_fashion_mnist, find_idx, kinds_in, load_idx_part
from nelbo.data.losses import in_words
from nelbo.data.names import (
    ARRAY_ENDINGS,
    AUTO,
    BUILT_IN,
    DIGITS,
    FASHION_MNIST,
    IMAGE_ENDINGS,
    OTHER_PICTURES,
    SHARD_ENDING,
    TOY_PREFIX,
    Range,
    is_stream,
    path_of,
    spec_of,
)
from nelbo.data.shards import find_shards, list_shards
from nelbo.data.stored import printable
from nelbo.data.toy_sets import toy_images
from nelbo.data.zarr_files import is_zarr
from nelbo.display import counted
from nelbo.errors import DataError
from nelbo.files import refuse_pointer
from nelbo.randomness import plain_generator

TOY_TRAIN, TOY_TEST = 10_000, 2_000  # points
MOST_NAMED = 4  # files in an error


@dataclass(frozen=True)
class Listed:
    """Image files that are listed but not opened yet."""

    kind: str
    listing: Listing


Source = Loaded | Listed


def open_source(spec: str | os.PathLike[str], seed: int, range: Range | str = AUTO) -> Source:
    """Open the source that `spec` names (see `load_data`) with the first of `KINDS` that recognizes it.

    Args:
        seed: draws the toy points.
        range: the values that become 0 and 255 in an array; see `as_levels`.

    Raises:
        DataError: `spec` names nothing, or the source is damaged.
    """
    spec = spec_of(spec)
    if is_stream(spec):
        raise DataError(
            f"{spec} is a stream, which training reads; for other work, copy its images to this disk and give their "
            "path."
        )
    for read in KINDS if "\0" not in spec else ():  # no path holds a null character
        if spec and (source := read(spec, seed, range)) is not None:  # as a path, "" would be the working folder
            return source
    raise _unrecognized(spec)


def _digits(spec: str, seed: int, range: Range | str) -> Source | None:
    if spec != DIGITS:
        return None
    digits = load_digits()
    return Loaded("digits", digits.train, digits.test)


def _fashion_mnist(spec: str, seed: int, range: Range | str) -> Source | None:
    return _idx("fashion-mnist", find_fashion_mnist(), spec, FASHION_CLASSES) if spec == FASHION_MNIST else None


def _toy_points(spec: str, seed: int, range: Range | str) -> Source | None:
    if not spec.startswith(TOY_PREFIX) or spec not in BUILT_IN:
        return None
    points = toy_images(spec.removeprefix(TOY_PREFIX), TOY_TRAIN + TOY_TEST, plain_generator(seed))
    order = torch.arange(len(points))
    return Loaded("toy", points.subset(order[:TOY_TRAIN]), points.subset(order[TOY_TRAIN:]))


def _idx_folder(spec: str, seed: int, range: Range | str) -> Source | None:
    return _idx("idx", path_of(spec), printable(os.path.basename(os.path.realpath(path_of(spec)))))


def _array_file(spec: str, seed: int, range: Range | str) -> Source | None:
    path = path_of(spec)
    is_array = path.suffix.lower() in ARRAY_ENDINGS and os.path.isfile(path)
    return load_arrays(path, range) if is_array or is_zarr(path) else None


def _table(spec: str, seed: int, range: Range | str) -> Source | None:
    return Listed("datasets", list_table(spec)) if is_table(spec) else None


def _image_files(spec: str, seed: int, range: Range | str) -> Source | None:
    path = path_of(spec)
    named = path.suffix.lower() in IMAGE_ENDINGS
    if not os.path.isdir(path) and not (os.path.isfile(path) and (named or is_picture(path))):
        return None
    listing = list_folder(path)
    return Listed("folder", listing) if listing.images or listing.rejects else None


def _shard_files(spec: str, seed: int, range: Range | str) -> Source | None:
    shards = find_shards(spec)
    if not shards:
        return None
    if missing := [shard for shard in shards if not os.path.isfile(shard)]:
        are = "is" if len(missing) == 1 else "are"
        raise DataError(
            f"{spec}: {len(missing):,} of its {counted(len(shards), 'shard')} {are} missing, the first "
            f"{printable(missing[0])}."
        )
    listing = list_shards(shards)
    if not listing.images and not listing.rejects:
        raise DataError(f"{spec}: no member of its {counted(len(shards), 'shard')} ends in {' '.join(IMAGE_ENDINGS)}.")
    return Listed("shards", listing)


KINDS: tuple[Callable[[str, int, Range | str], Source | None], ...] = (
    _digits,
    _fashion_mnist,
    _toy_points,
    _idx_folder,
    _array_file,
    _table,
    _image_files,
    _shard_files,
)
"""The kinds of source, in the order in which they are tried: a built-in name goes before a path of that name.

Each takes (spec, seed, range) and returns None if the spec is of another kind.
"""


def _idx(kind: str, place: Path, name: str, class_names: tuple[str, ...] = ()) -> Loaded | None:
    found = find_idx(place)
    if not found:
        return None
    train = load_idx_part(found[TRAIN], name, class_names)
    test = load_idx_part(found[TEST], name, class_names) if TEST in found else None
    if test is not None and test.shape != train.shape:
        raise DataError(f"{place}: the training images have the shape {train.shape}, the test images {test.shape}.")
    return Loaded(kind, train, test)


def _unrecognized(spec: str) -> DataError:
    """Return the error for a spec that no kind recognizes."""
    path, endings = path_of(spec), " ".join(IMAGE_ENDINGS)
    if spec and os.path.isdir(path):
        ignored = sum(list_folder(path).ignored.values())
        others = f"; {counted(ignored, 'other file was', 'other files were')} ignored" if ignored else ""
        return DataError(
            f"{printable(path)} holds no images: no file in it or its sub-folders ends in {endings} or begins like an "
            f"image, and there are {_no_idx(path)} and no {SHARD_ENDING} shards{others}."
        )
    if os.path.isfile(path):
        refuse_pointer(path, DataError)
        if kinds := kinds_in([path]):
            return DataError(f"{printable(path)} is an IDX file of {kinds[path]}; {EXPECTED}.")
        if path.suffix.lower() in OTHER_PICTURES:
            return DataError(
                f"{printable(path)} is a {path.suffix.lower()} picture, which nelbo does not read; convert it to PNG."
            )
        arrays = ", ".join(ARRAY_ENDINGS)
        return DataError(
            f"{printable(path)} is of an unknown kind; expected a folder, an image ({endings}), {arrays} or "
            f"{SHARD_ENDING}."
        )
    if spec and (fault := _fault(path)):
        return DataError(f"{printable(path)} {fault}.")
    near = difflib.get_close_matches(re.sub("[ _]", "-", spec.lower()), BUILT_IN, 1, 0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return DataError(
        f"{spec!r} is neither a built-in data set nor an existing path; {hint}give a path or one of "
        f"{', '.join(BUILT_IN)}."
    )


def _no_idx(folder: Path) -> str:
    """Say that a folder has no IDX files of images, and what those hold that are somewhere in it."""
    kinds = kinds_in(Path(place, name) for place, _, names in os.walk(folder) for name in sorted(names))
    if not kinds:
        return "no IDX files"
    named = [f"{printable(path.relative_to(folder))} holds {kind}" for path, kind in kinds.items()]
    more = [f"{len(named) - MOST_NAMED} more are not named"] * (len(named) > MOST_NAMED)
    return (
        "no IDX files of images in the folder itself, in raw or in NAME/raw "
        f"({in_words(named[:MOST_NAMED] + more)}; {EXPECTED})"
    )


def _fault(path: Path) -> str:
    """Return why a path cannot be opened; "" if there is nothing of this name."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return f"is a link to {printable(os.readlink(path))}, which does not exist" if os.path.islink(path) else ""
    except OSError as error:
        return f"cannot be opened: {error.strerror}; check the path and its permissions"
    except ValueError:  # a null character
        return ""
    return "is neither a file nor a folder"
