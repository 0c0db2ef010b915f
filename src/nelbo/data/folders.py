"""The image files in a folder, in sorted order and labelled by sub-folder, and the files that are ignored."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data.datasets import Reject, printable
from nelbo.data.decoding import StoredImage
from nelbo.data.names import IMAGE_ENDINGS


@dataclass(frozen=True)
class Listing:
    """Files with the ending of an image, in the order of the set, before any is opened.

    Attributes:
        name: the name of the set.
        images: the files.
        classes: the class of each image by name, or None.
        rejects: entries that cannot be opened, with reasons.
        ignored: the number of other files, by ending.
    """

    name: str
    images: list[StoredImage]
    classes: list[str | None]
    rejects: list[Reject] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def list_folder(root: Path) -> Listing:
    """List the images under `root`, sorted by path, with the first sub-folder as the class; `root` may be one image.

    Files with other endings and hidden files and folders (names that begin with a dot) are ignored and counted.
    Symbolic links are followed. Each folder is visited once and real folders come first, so loops end.
    """
    listing = Listing(root.resolve().name, [], [])
    if not root.is_dir():
        listing.images.append(StoredImage(str(root)))
        listing.classes.append(None)
        return listing
    for path in sorted(_walk(root, listing)):
        if not path.is_file():  # a broken link, a pipe or a device; opening a pipe or device could block
            listing.rejects.append(Reject(printable(path), "not a regular file" if path.exists() else "a broken link"))
            continue
        parts = path.relative_to(root).parts
        listing.images.append(StoredImage(str(path)))
        listing.classes.append(parts[0] if len(parts) > 1 else None)
    return listing


def labels_of(classes: Sequence[str | None]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Convert the class name of each image to labels, int64 (N,), and return them with the sorted names.

    An image without a class has label -1; if no image has one, the labels are None. Names that are all numbers are
    sorted by value (2 before 10).
    """
    found = {name for name in classes if name is not None}
    if not found:
        return None, ()
    names = sorted(found, key=int if all(name.isdecimal() for name in found) else str)
    number: dict[str | None, int] = {name: label for label, name in enumerate(names)} | {None: -1}
    return torch.tensor([number[name] for name in classes]), tuple(printable(name) for name in names)


def _walk(root: Path, listing: Listing) -> Iterator[Path]:
    """Yield the paths under `root` with the ending of an image; count the others in `listing`."""
    seen: set[tuple[int, int]] = set()
    folders, links = [root], list[Path]()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            listing.rejects.append(Reject(printable(folder), f"cannot be listed: {error.strerror}"))
            continue
        for entry in entries:
            ending = os.path.splitext(entry.name)[1].lower()
            if entry.name.startswith("."):
                listing.ignored["hidden"] += 1
            elif os.path.isdir(entry.path):
                (links if entry.is_symlink() else folders).append(Path(entry.path))
            elif ending in IMAGE_ENDINGS:
                yield Path(entry.path)
            else:
                listing.ignored[ending or "no ending"] += 1
