"""Decode every file once before training starts, so that damaged files are known early, not hours into a run."""

import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from nelbo.data.datasets import ArrayDataset, ImageDataset, Reject
from nelbo.data.decoding import decode, to_tensor, usable_processors
from nelbo.data.flattening import Decoded
from nelbo.data.folder_dataset import FolderDataset
from nelbo.data.folders import DataWarning, Listing, labels_of
from nelbo.data.names import AUTO, CHANNELS, FULL, Mode, Range, Size
from nelbo.data.ranges import DeepImages
from nelbo.data.stored import StoredImage, StoredImages, Unreadable
from nelbo.display import counted
from nelbo.errors import DataError, option, warn
from nelbo.progress import Progress, reported


@dataclass(frozen=True)
class Scan:
    """The result of a scan. The lists from `files` to `coloured` and `decoded` have one entry per decoded image.

    Attributes:
        name: the name of the set.
        files, classes: the files, and the class of each by name or None.
        modes, sizes: the mode (Pillow's name) and the size (H, W) of each file.
        coloured: whether each image has colour.
        rejects: files that cannot be used, with reasons.
        ignored: the number of files that are no images, by ending.
        decoded: the decoded images, or None if they do not fit in memory.
        deep: the images of more than 8 bits.
        animations: number of images that are the first frame of an animation.
        range: the range that was asked for.
    """

    name: str
    files: StoredImages
    classes: list[str | None]
    modes: list[str]
    sizes: list[Size]
    coloured: list[bool]
    rejects: list[Reject]
    ignored: Counter[str]
    decoded: list[Decoded] | None
    deep: DeepImages = field(default_factory=DeepImages)
    animations: int = 0
    range: Range | str = FULL

    @property
    def limits(self) -> Range | None:
        """The values of images of more than 8 bits that became black and white; None for those of their depth."""
        return self.deep.limits(self.range)

    @property
    def mode(self) -> Mode:
        """RGB if any image has colour, else L."""
        return "RGB" if any(self.coloured) else "L"

    def without(self, faults: Sequence[str | None]) -> "Scan":
        """Return the scan without the images that have a fault (one entry per image); they become rejects with it."""
        kept = [i for i, fault in enumerate(faults) if fault is None]
        others = [
            Reject(stored.name, fault) for stored, fault in zip(self.files, faults, strict=True) if fault is not None
        ]
        return replace(
            self,
            files=self.files.taken(kept),
            classes=[self.classes[i] for i in kept],
            modes=[self.modes[i] for i in kept],
            sizes=[self.sizes[i] for i in kept],
            coloured=[self.coloured[i] for i in kept],
            rejects=self.rejects + others,
            decoded=None if self.decoded is None else [self.decoded[i] for i in kept],
        )

    def warn(self, how: str) -> None:
        """Issue a `DataWarning` for what the images lack that their files have.

        Args:
            how: follows the range that images of more than 8 bits were mapped from.
        """
        warn_of_losses(self.name, self.deep, self.animations, self.range, how)


def warn_of_losses(name: str, deep: DeepImages, animations: int, range: Range | str, how: str) -> None:
    """Issue a `DataWarning` for images of more than 8 bits in the set `name`, and for its animations; see `Scan`."""
    if note := deep.note(name, range):
        warn(f"{note}{how}.", DataWarning)
    if animations:
        what = counted(animations, "file is an animation", "files are animations")
        warn(
            f"{name}: {what}, of which only the first frame is read; save the frames as images to read all.",
            DataWarning,
        )


def scan(
    listing: Listing,
    size: Size | None = None,
    workers: int | None = None,
    progress: Progress | bool | None = None,
    memory_budget: int = 2**31,
    largest: int | None = None,
    range: Range | str = FULL,
) -> Scan:
    """Decode every image of the listing, and keep the pixels if they fit in `memory_budget` bytes.

    Args:
        size: (H, W) to resize and crop every image to, or None to keep each as it is.
        workers: threads that decode (Pillow releases the interpreter lock meanwhile); None for one per usable
            processor, 0 to decode in the calling thread.
        progress: True for a progress bar, or a function that is called with (images done, images in all).
        memory_budget: bytes of pixels to keep; 0 keeps none.
        largest: longest side that an image may have, in pixels, or None for any.
        range: the values that become 0 and 255 in images of more than 8 bits; "full" for those of the depth of each
            file, "auto" for those that the whole set needs. The latter may read the files twice.

    Raises:
        DataError: an image is larger than `largest`; the first one ends the scan.
    """
    options = (size, usable_processors() if workers is None else workers, progress, memory_budget, largest)
    if range != AUTO:
        return _scan(listing, range, None if isinstance(range, str) else range, *options)
    found = _scan(listing, range, None, *options)
    return found if found.limits is None else _scan(listing, range, found.limits, *options)


def _scan(
    listing: Listing,
    range: Range | str,
    limits: Range | None,
    size: Size | None,
    workers: int,
    progress: Progress | bool | None,
    memory_budget: int,
    largest: int | None,
) -> Scan:
    """Scan with known limits; see `scan`."""
    result = Scan(listing.name, StoredImages(), [], [], [], [], list(listing.rejects), listing.ignored, [])
    kept, stored_bytes, deep, animations = result.decoded if memory_budget else None, 0, DeepImages(), 0
    shared = dict[Size, Size]()  # one object for all images of a size
    job = _Job(size, limits, keep=memory_budget > 0)
    with warnings.catch_warnings(action="ignore"), reported(progress, "reading images") as report:
        for done, outcome in enumerate(_decoded_in_order(listing.images, job, workers)):
            stored = listing.images[done]
            if isinstance(outcome, Decoded):
                refuse_larger(outcome.file_size, largest, stored.name)
                result.files.append(stored)
                result.classes.append(listing.classes[done])
                result.modes.append(outcome.file_mode)
                result.sizes.append(shared.setdefault(outcome.file_size, outcome.file_size))
                result.coloured.append(outcome.pixels.shape[2] == 3)
                deep = deep.including(outcome.values, outcome.bits)
                animations += outcome.frames > 1
                stored_bytes += outcome.pixels.nbytes
                kept = kept if stored_bytes <= memory_budget else None
                if kept is not None:
                    kept.append(outcome)
            else:
                result.rejects.append(Reject(stored.name, str(outcome)))
            report(done + 1, len(listing.images))
    return replace(result, decoded=kept, deep=deep, animations=animations, range=range)


def refuse_larger(size: Size, largest: int | None, name: str) -> None:
    """Raise a `DataError` if an image of `size` (H, W) has a side above `largest`; None allows any size."""
    if largest is not None and max(size) > largest:
        raise DataError(
            f"{name} is {size[1]}x{size[0]}; without {option('size')}, a side may have at most {largest} pixels. Set a "
            f"side to which all images are resized and cropped, such as {option('size', 64)}."
        )


def build(found: Scan, size: Size | None, mode: Mode | None, memory_budget: int) -> ImageDataset:
    """Build a set of the scanned images: in memory if they fit, else a `FolderDataset`.

    Args:
        size: (H, W) to which the scan resized the images, or None.
        mode: the mode of the set, or None for that of the scan.
        memory_budget: bytes of pixels to keep in memory.

    Raises:
        DataError: no image could be decoded, or sizes differ and `size` is None.
    """
    if not found.files:
        number = len(found.rejects)
        what = "its only image cannot" if number == 1 else f"none of its {number:,} images can"
        raise DataError(f"{found.name}: {what} be used: {first(found.rejects)}.")
    if size is None and len(counts := Counter(found.sizes)) > 1:
        listed = ", ".join(f"{width}x{height} ({number})" for (height, width), number in counts.most_common(5))
        more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
        raise DataError(
            f"{found.name} holds images of {len(counts)} sizes: {listed}{more}; give them one size, such as "
            f"{option('size', 64)} (the shorter side is resized to 64, then the centre 64 x 64 is cut out)."
        )
    mode = mode or found.mode
    shape = (CHANNELS[mode], *(size or found.sizes[0]))
    labels, class_names = labels_of(found.classes)
    if found.decoded is None or len(found.files) * shape[0] * shape[1] * shape[2] > memory_budget:
        rest = (found.name, class_names, found.rejects, found.limits)
        return FolderDataset(found.files, shape, size is not None, labels, *rest)
    images = torch.empty((len(found.files), *shape), dtype=torch.uint8)
    for index, decoded in enumerate(found.decoded):
        images[index] = to_tensor(decoded.pixels, mode)
    return ArrayDataset(images, 256, labels, found.name, class_names, found.rejects)


def first(rejects: Sequence[Reject], number: int = 3) -> str:
    """Describe the first few rejects in words."""
    listed = "; ".join(f"{reject.path}: {reject.reason}" for reject in rejects[:number])
    return listed + (f"; and {len(rejects) - number} more" if len(rejects) > number else "")


@dataclass(frozen=True)
class _Job:
    """What a worker does with each file.

    Attributes:
        keep: whether the pixels are needed.
    """

    size: Size | None
    limits: Range | None
    keep: bool

    def __call__(self, stored: StoredImage) -> Decoded | Unreadable:
        """Decode a file, or return why it is unreadable."""
        try:
            found = decode(stored, self.size, self.limits)
        except Unreadable as reason:
            return reason
        return found if self.keep else replace(found, pixels=np.empty((0, 0, found.pixels.shape[2]), np.uint8))


def _decoded_in_order(files: Sequence[StoredImage], job: _Job, workers: int) -> Iterator[Decoded | Unreadable]:
    """Yield the outcome for each file in order, decoding at most two files per worker ahead."""
    if workers == 0:
        yield from map(job, files)
        return
    pending: deque[Future[Decoded | Unreadable]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for stored in files:
            pending.append(pool.submit(job, stored))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
