"""What lies in a folder: images in sorted order, labelled by sub-folder, and what was passed over."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data.datasets import Reject, printable
from nelbo.data.decoding import ENDINGS, StoredImage


@dataclass(frozen=True)
class Listing:
    """Files that claim to be images, in the set's order, before any is opened.

    `classes[i]` is the class of `images[i]` by name, or None; `ignored` counts the rest by ending.
    """

    name: str
    images: list[StoredImage]
    classes: list[str | None]
    rejects: list[Reject] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)


def list_folder(root: Path) -> Listing:
    """The images under `root` (or the one image that `root` is), sorted by path; the first sub-folder is the class.

    Files with other endings and everything hidden (a name that begins with a dot) are ignored and counted. Symbolic
    links are followed, each folder once and real folders first, so loops end.
    """
    listing = Listing(root.resolve().name, [], [])
    if not root.is_dir():
        listing.images.append(StoredImage(str(root)))
        listing.classes.append(None)
        return listing
    for path in sorted(_walk(root, listing)):
        if not path.is_file():  # a broken link, a pipe, a device: opening the latter would hang
            listing.rejects.append(Reject(printable(path), "no regular file" if path.exists() else "a broken link"))
            continue
        parts = path.relative_to(root).parts
        listing.images.append(StoredImage(str(path)))
        listing.classes.append(parts[0] if len(parts) > 1 else None)
    return listing


def labels_of(classes: Sequence[str | None]) -> tuple[Tensor | None, tuple[str, ...]]:
    """Class names per image -> int64 labels (N,), -1 for None; no labels when all are None.

    Labels follow the sorted names, by value where all are numbers (2 before 10).
    """
    found = {name for name in classes if name is not None}
    if not found:
        return None, ()
    names = sorted(found, key=int if all(name.isdecimal() for name in found) else str)
    number: dict[str | None, int] = {name: label for label, name in enumerate(names)} | {None: -1}
    return torch.tensor([number[name] for name in classes]), tuple(printable(name) for name in names)


def _walk(root: Path, listing: Listing) -> Iterator[Path]:
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
            elif ending in ENDINGS:
                yield Path(entry.path)
            else:
                listing.ignored[ending or "no ending"] += 1
