"""Decode every file once before training starts, so that damaged files are known early, not hours into a run."""

import warnings
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.data.datasets import ArrayDataset, ImageDataset, Reject, printable
from nelbo.data.decoding import (
    Decoded,
    StoredImage,
    Unreadable,
    decode,
    pixels_of,
    to_tensor,
    usable_processors,
)
from nelbo.data.folders import Listing, labels_of
from nelbo.data.names import CHANNELS, MODE_OF, Mode, Size
from nelbo.errors import DataError, option
from nelbo.progress import Progress, reported


class FolderDataset(ImageDataset):
    """Images that stay in their files and are decoded at each access, for sets larger than memory.

    `loader` reads it in worker processes. Reading a file that is missing, damaged or of another size than at the scan
    raises a `DataError`.

    Args:
        files: the files in the order of the set.
        shape: (C, H, W) of every image.
        fitted: whether images are resized and cropped to H x W; otherwise each must have that size.
        labels: int64 (N,), -1 for an image without a class, or None.
    """

    in_memory = False

    def __init__(
        self,
        files: Sequence[StoredImage],
        shape: tuple[int, int, int],
        fitted: bool,
        labels: Tensor | None = None,
        name: str = "folder",
        class_names: Sequence[str] = (),
        rejects: Sequence[Reject] = (),
    ) -> None:
        super().__init__(name, shape, 256, labels, class_names, rejects)
        self.files = list(files)
        self.fitted = fitted

    def __len__(self) -> int:
        return len(self.files)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Decode the images at `indices`, uint8 (n, C, H, W). Raise a `DataError` for a file that has changed."""
        with warnings.catch_warnings(action="ignore"):
            pixels = [self._read(self.files[int(index)]) for index in indices]
        return torch.stack(pixels) if pixels else torch.empty((0, *self.shape), dtype=torch.uint8)

    def subset(self, indices: Tensor) -> "FolderDataset":
        """Return a set of the files at `indices` (int64), in that order, with the rejects of the whole set."""
        files = [self.files[int(index)] for index in indices]
        labels = None if self.labels is None else self.labels[indices]
        return FolderDataset(files, self.shape, self.fitted, labels, self.name, self.class_names, self.rejects)

    def _read(self, stored: StoredImage) -> Tensor:
        channels, height, width = self.shape
        pixels = pixels_of(stored, (height, width) if self.fitted else None, MODE_OF[channels])
        if pixels.shape != self.shape:
            raise DataError(
                f"{printable(stored.path)} is now {pixels.shape[2]}x{pixels.shape[1]}, but was {width}x{height} when "
                "the set was scanned; load the set again."
            )
        return pixels


@dataclass(frozen=True)
class Scan:
    """The result of a scan. The lists from `files` to `coloured` and `decoded` have one entry per decoded image.

    Attributes:
        name: the name of the set.
        files, classes: the files, and the class of each by name or None.
        modes, sizes: the mode (Pillow's name) and the size (H, W) of each file.
        coloured: whether each image has colour.
        rejects: files that cannot be used, with reasons.
        ignored: the number of files without the ending of an image, by ending.
        decoded: the decoded images, or None if they do not fit in memory.
    """

    name: str
    files: list[StoredImage]
    classes: list[str | None]
    modes: list[str]
    sizes: list[Size]
    coloured: list[bool]
    rejects: list[Reject]
    ignored: Counter[str]
    decoded: list[Decoded] | None

    @property
    def mode(self) -> Mode:
        """RGB if any image has colour, else L."""
        return "RGB" if any(self.coloured) else "L"

    def without(self, faults: Sequence[str | None]) -> "Scan":
        """Return the scan without the images that have a fault (one entry per image); they become rejects with it."""
        kept = [i for i, fault in enumerate(faults) if fault is None]
        others = [
            Reject(printable(stored.path), fault)
            for stored, fault in zip(self.files, faults, strict=True)
            if fault is not None
        ]
        return replace(
            self,
            files=[self.files[i] for i in kept],
            classes=[self.classes[i] for i in kept],
            modes=[self.modes[i] for i in kept],
            sizes=[self.sizes[i] for i in kept],
            coloured=[self.coloured[i] for i in kept],
            rejects=self.rejects + others,
            decoded=None if self.decoded is None else [self.decoded[i] for i in kept],
        )


def scan(
    listing: Listing,
    size: Size | None = None,
    workers: int | None = None,
    progress: Progress | bool | None = None,
    memory_budget: int = 2**31,
    largest: int | None = None,
) -> Scan:
    """Decode every image of the listing, and keep the pixels if they fit in `memory_budget` bytes.

    Args:
        size: (H, W) to resize and crop every image to, or None to keep each as it is.
        workers: threads that decode (Pillow releases the interpreter lock meanwhile); None for one per usable
            processor, 0 to decode in the calling thread.
        progress: True for a progress bar, or a function that is called with (images done, images in all).
        memory_budget: bytes of pixels to keep; 0 keeps none.
        largest: longest side that an image may have, in pixels, or None for any.

    Raises:
        DataError: an image is larger than `largest`; the first one ends the scan.
    """
    result = Scan(listing.name, [], [], [], [], [], list(listing.rejects), listing.ignored, [])
    kept, stored_bytes = result.decoded, 0
    workers = usable_processors() if workers is None else workers
    with warnings.catch_warnings(action="ignore"), reported(progress, "reading images") as report:
        for done, outcome in enumerate(_decoded_in_order(listing.images, size, workers)):
            stored = listing.images[done]
            if isinstance(outcome, Decoded):
                refuse_larger(outcome.file_size, largest, printable(stored.path))
                result.files.append(stored)
                result.classes.append(listing.classes[done])
                result.modes.append(outcome.file_mode)
                result.sizes.append(outcome.file_size)
                result.coloured.append(outcome.pixels.shape[2] == 3)
                stored_bytes += outcome.pixels.nbytes
                kept = kept if stored_bytes <= memory_budget else None
                if kept is not None:
                    kept.append(outcome)
            else:
                result.rejects.append(Reject(printable(stored.path), str(outcome)))
            report(done + 1, len(listing.images))
    return replace(result, decoded=kept)


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
        raise DataError(f"{found.name}: none of its {len(found.rejects)} images can be used: {first(found.rejects)}.")
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
        return FolderDataset(found.files, shape, size is not None, labels, found.name, class_names, found.rejects)
    images = torch.empty((len(found.files), *shape), dtype=torch.uint8)
    for index, decoded in enumerate(found.decoded):
        images[index] = to_tensor(decoded.pixels, mode)
    return ArrayDataset(images, 256, labels, found.name, class_names, found.rejects)


def first(rejects: Sequence[Reject], number: int = 3) -> str:
    """Describe the first few rejects in words."""
    listed = "; ".join(f"{reject.path}: {reject.reason}" for reject in rejects[:number])
    return listed + (f"; and {len(rejects) - number} more" if len(rejects) > number else "")


def _decoded_in_order(files: Sequence[StoredImage], size: Size | None, workers: int) -> Iterator[Decoded | Unreadable]:
    """Yield the outcome for each file in order, decoding at most two files per worker ahead."""
    if workers == 0:
        yield from (_try_decode(stored, size) for stored in files)
        return
    pending: deque[Future[Decoded | Unreadable]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for stored in files:
            pending.append(pool.submit(_try_decode, stored, size))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _try_decode(stored: StoredImage, size: Size | None) -> Decoded | Unreadable:
    """Decode a file, or return why it is unreadable."""
    try:
        return decode(stored, size)
    except Unreadable as reason:
        return reason
