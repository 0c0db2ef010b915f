"""From what a person names to a part to train on and a held-out part."""

from typing import get_args

from nelbo.data.datasets import ArrayDataset, ImageDataset, Split, printable
from nelbo.data.decoding import Mode, Size, conform
from nelbo.data.held_out import split_off
from nelbo.data.scanning import Progress, build, first, refuse_larger, scan
from nelbo.data.sources import Loaded, open_source
from nelbo.errors import ConfigurationError, DataError

MEMORY_BUDGET = 2**31
MODES: dict[int, Mode] = {1: "L", 3: "RGB"}


def load_data(
    spec: str,
    *,
    size: int | Size | None = None,
    mode: Mode | None = None,
    held_out: float | None = None,
    on_reject: str = "skip",
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    memory_budget: int = MEMORY_BUDGET,
    largest: int | None = None,
) -> Split:
    """The images that `spec` names, in a part to train on and a held-out part.

    Args:
        spec: "digits", "fashion-mnist", "toy:NAME", or a path: a folder of images (classes from its sub-folders), one
            image, an IDX folder, a `.npy` or `.npz` file, a `.tar` shard, a folder of them, or `shards/{000..009}.tar`.
            A built-in name goes before a path of that name; write ./digits for the folder.
        size: side, or (H, W), to which images are resized and cropped; needed where a folder holds several sizes.
        mode: "L" or "RGB"; None takes RGB if any image has colour. `nelbo.data.decoding` states the whole policy.
        held_out: fraction or number of images to hold out, None for 5% (1 to 10,000 images). digits, fashion-mnist, the
            toy sets and IDX folders with t10k files bring their own held-out part, and then it may not be given.
        on_reject: "skip" goes on without files that cannot be decoded (they are in `.rejects`); "stop" raises.
        workers: threads for the scan of a folder, one a usable processor if None; 0 scans in the calling one.
        seed: chooses the held-out images and draws the toy points.
        progress: called with (images done, images in all) while a folder is scanned.
        memory_budget: bytes of pixels kept in memory; a larger set is decoded as it is read (`FolderDataset`).
        largest: the longest side that images may have where no `size` is given, or None for any.

    Raises:
        DataError: the data is missing, empty, damaged, of several sizes or larger than `largest`.
        ConfigurationError: an argument that cannot be.
    """
    wanted = _checked_size(size)
    if mode is not None and mode not in get_args(Mode):
        raise ConfigurationError(f"--mode is {mode!r}; expected L (grey) or RGB")
    if on_reject not in ("skip", "stop"):
        raise ConfigurationError(f"--on-reject is {on_reject!r}; expected skip or stop")
    if workers is not None and workers < 0:
        raise ConfigurationError(f"--workers is {workers}; expected 0 or more")

    source, largest = open_source(spec, seed), largest if wanted is None else None
    if isinstance(source, Loaded):
        refuse_larger(source.train.shape[1:], largest, f"each image of {source.train.name}")
        return _split(source, wanted, mode, held_out, seed)
    found = scan(source.listing, wanted, workers, progress, memory_budget, largest)
    if on_reject == "stop" and found.rejects:
        raise DataError(
            f"{spec}: {len(found.rejects)} file(s) cannot be used: {first(found.rejects)}; mend or remove them, or go "
            "on "
            "without them by --on-reject skip"
        )
    return split_off(build(found, wanted, mode, memory_budget), held_out, seed)


def _split(source: Loaded, size: Size | None, mode: Mode | None, held_out: float | None, seed: int) -> Split:
    """A set that is in memory already, conformed, with the held-out part that it brings or one chosen here."""
    train = _conformed(source.train, size, mode)
    if source.test is None:
        return split_off(train, held_out, seed)
    if held_out is not None:
        raise ConfigurationError(
            f"--held-out is {held_out}, but {train.name} brings its own held-out part of {len(source.test)} images; "
            "leave the "
            "flag out"
        )
    return Split(train, _conformed(source.test, size, mode))


def _conformed(
    dataset: ImageDataset, size: Size | None, mode: Mode | None, flags: str = "--size and --mode"
) -> ImageDataset:
    """`dataset` at the size and mode asked for by `flags`; itself where it has them already."""
    channels, *sides = dataset.shape
    resized = size is not None and size != tuple(sides)
    if not resized and mode in (None, MODES.get(channels)):
        return dataset
    if channels not in (1, 3):
        raise DataError(f"{dataset.name} has {channels} values a point and is no picture; leave out {flags}")
    if dataset.levels != 256 and (resized or channels == 3):
        raise DataError(
            f"{dataset.name} has {dataset.levels} levels and {sides[0]} x {sides[1]} pixels; resizing or mixing its "
            f"channels would make levels that it does not have; leave out {flags}"
        )
    images = conform(dataset.images(range(len(dataset))), size, mode)
    return ArrayDataset(images, dataset.levels, dataset.labels, dataset.name, dataset.class_names, dataset.rejects)


def _checked_size(size: int | Size | None) -> Size | None:
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and (len(sides) != 2 or min(sides) < 1):
        raise ConfigurationError(f"--size is {size}; expected a number of pixels, at least 1")
    return None if sides is None else (sides[0], sides[1])


def load_for_model(
    spec: str,
    shape: tuple[int, int, int],
    *,
    conform_all: bool = False,
    progress: Progress | None = None,
    memory_budget: int = MEMORY_BUDGET,
) -> tuple[ImageDataset, list[str]]:
    """Every image that `spec` names, for a model of `shape` (C, H, W), and what each image is called.

    Nothing is held out; a set that brings a held-out part gives that part. In a folder or shard an image of another
    size, or a coloured one where the model is grey, is a named reject like a file that cannot be decoded, and the rest
    is used; `conform_all` (--resize) resizes, crops and converts it instead. Grey images serve a colour model as they
    are. Arrays and named sets have one shape, which without `conform_all` is left for the model to accept or refuse.

    Raises:
        DataError: no image is left, or `conform_all` would make levels that the images do not have.
    """
    size, mode = (shape[1], shape[2]), MODES.get(shape[0])
    source = open_source(spec, seed=0)
    if isinstance(source, Loaded):
        dataset = source.test or source.train
        dataset = _conformed(dataset, size, mode, "--resize") if conform_all else dataset
        return dataset, [f"{dataset.name}[{i}]" for i in range(len(dataset))]
    found = scan(source.listing, size if conform_all else None, None, progress, memory_budget)
    if not conform_all:
        found = found.without([_misfit(*image, shape) for image in zip(found.sizes, found.coloured, strict=True)])
    dataset = build(found, size if conform_all else None, mode, memory_budget)
    return dataset, [printable(stored.path) for stored in found.files]


def _misfit(size: Size, coloured: bool, shape: tuple[int, int, int]) -> str | None:
    """What keeps an image from a model of `shape` (C, H, W), in words; None where it fits."""
    channels, height, width = shape
    if size != (height, width):
        return f"{size[1]}x{size[0]}, and the model takes {width}x{height}; --resize brings images to that"
    return "in colour, and the model is grey; --resize converts images" if coloured and channels == 1 else None
