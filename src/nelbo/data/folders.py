"""The image files in a folder, in sorted order and labelled by sub-folder, and the files that are ignored."""

import errno
import os
import stat
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data.datasets import Reject
from nelbo.data.names import IMAGE_ENDINGS, OTHER_PICTURES, PAGED_ENDINGS
from nelbo.data.stored import StoredImage, printable
from nelbo.data.tiff import pages_of
from nelbo.errors import NelboWarning

# Folder names of the parts of a data set, from the part to train on to the part that is held out if there is no other.
TRAIN, TEST, VALIDATION = ("train", "training"), ("test", "testing"), ("val", "valid", "validation", "dev")


class DataWarning(NelboWarning):
    """A data set is read in a way that may not be expected."""


@dataclass(frozen=True)
class Listing:
    """Files with the ending of an image, in the order of the set, before any is opened.

    Attributes:
        name: the name of the set.
        images: the files.
        classes: the class of each image by name, or None.
        rejects: entries that cannot be opened, with reasons.
        ignored: the number of other files, by ending.
        held_out: the paths of the images in a held-out part of its own; empty if it has none.
        note: how the folders were understood, if that may not be expected, for a warning.
    """

    name: str
    images: list[StoredImage]
    classes: list[str | None]
    rejects: list[Reject] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    held_out: Set[str] = frozenset()
    note: str = ""

    def warn(self) -> None:
        """Issue a `DataWarning` with the note, and one for pictures that are not read."""
        if self.note:
            warnings.warn(self.note, DataWarning, stacklevel=3)
        if unread := {ending: number for ending, number in self.ignored.items() if ending in OTHER_PICTURES}:
            listed = ", ".join(f"{ending}: {number}" for ending, number in unread.items())
            warnings.warn(
                f"{self.name}: {sum(unread.values())} pictures are left out, because nelbo does not read their formats "
                f"({listed}); convert them to PNG.",
                DataWarning,
                stacklevel=3,
            )

    def add(self, stored: StoredImage, name: str | None) -> None:
        """Add a file, or each page of a TIFF file, with the class `name`."""
        pages = pages_of(stored) if stored.path.lower().endswith(PAGED_ENDINGS) else [stored]
        self.images.extend(pages)
        self.classes.extend([name] * len(pages))

    def where(self, kept: Sequence[bool]) -> "Listing":
        """Return the listing of some of the images (one entry of `kept` per image)."""
        images = [image for image, keep in zip(self.images, kept, strict=True) if keep]
        classes = [name for name, keep in zip(self.classes, kept, strict=True) if keep]
        return replace(self, images=images, classes=classes)


def list_folder(root: Path) -> Listing:
    """List the images under `root`, sorted by path, with the first sub-folder as the class; `root` may be one image.

    Files with other endings and hidden files and folders (names that begin with a dot) are ignored and counted.
    Symbolic links are followed. Each folder is visited once and real folders come first, so loops end. If all first
    sub-folders are named like parts of a data set (`train`, `test`, `val`), they are its parts, not classes.
    """
    listing = Listing(printable(os.path.basename(os.path.realpath(root))), [], [])
    if not os.path.isdir(root):
        listing.add(StoredImage(str(root)), None)
        return listing
    for path in sorted(_walk(root, listing)):
        if fault := _fault(path):  # opening a pipe or a device could block
            listing.rejects.append(Reject(printable(path), fault))
            continue
        parts = path.relative_to(root).parts
        listing.add(StoredImage(str(path)), parts[0] if len(parts) > 1 else None)
    return _in_parts(listing, root)


def _in_parts(listing: Listing, root: Path) -> Listing:
    """Return the listing with the part that is held out, and second sub-folders as classes, if it is one of parts."""
    role = {name: names[0] for names in (TRAIN, TEST, VALIDATION) for name in names}
    tops = {name for name in listing.classes if name is not None}
    if not tops or None in listing.classes or not all(name.lower() in role for name in tops):
        return listing
    roles = [role[name.lower()] for name in listing.classes if name is not None]
    counts = Counter(roles)
    held = next((part for part in (TEST[0], VALIDATION[0]) if part in counts and TRAIN[0] in counts), "")
    used = {TRAIN[0], held} if held else set(counts)
    inner = [Path(image.path).relative_to(root).parts[1:-1] for image in listing.images]
    divided = replace(listing, classes=[parts[0] if parts else None for parts in inner]).where(
        [r in used for r in roles]
    )
    divided.ignored.update({f"image of the part {part}": counts[part] for part in counts if part not in used})
    found = ", ".join(f"{part} ({number} images)" for part, number in counts.items())
    unused = "".join(f"; {part} is not used" for part in counts if part not in used)
    how = f"{held} is held out" if held else "nothing else is held out because of them"
    return replace(
        divided,
        held_out={image.path for image, part in zip(listing.images, roles, strict=True) if part == held},
        note=f"{printable(root)}: its sub-folders are the parts of a data set, not classes: {found}; {how}{unused}.",
    )


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


def _fault(path: Path) -> str:
    """Return why a path is no regular file; "" if it is one."""
    try:
        return "" if stat.S_ISREG(os.stat(path).st_mode) else "not a regular file"
    except OSError as error:
        broken = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
        return "a broken link" if broken else f"it cannot be opened: {error.strerror}"


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
