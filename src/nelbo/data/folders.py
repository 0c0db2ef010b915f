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
from nelbo.data.names import ARRAY_ENDINGS, IMAGE_ENDINGS, OTHER_PICTURES, PAGED_ENDINGS, SHARD_ENDING
from nelbo.data.parts import Folders, parts_of
from nelbo.data.stored import SIGNATURE_BYTES, StoredImage, StoredImages, format_of, printable
from nelbo.data.tiff import pages_of
from nelbo.display import counted
from nelbo.errors import NelboWarning

# Endings of files that are not opened to find out whether they are images: text, and copies that programs keep.
OTHER_ENDINGS = frozenset(
    (
        *(".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".md", ".html", ".py", ".ipynb"),
        *(".cls", ".caption", ".bak", ".orig", ".old", ".tmp", ".part", ".crdownload", ".download"),
        *(*OTHER_PICTURES, *ARRAY_ENDINGS, SHARD_ENDING),
    )
)


class DataWarning(NelboWarning):
    """A data set is read in a way that may not be expected."""


@dataclass(frozen=True)
class Listing:
    """The image files of a set in its order, before any is decoded.

    Attributes:
        name: the name of the set.
        images: the files.
        classes: the class of each image by name, or None.
        rejects: entries that cannot be opened, with reasons.
        ignored: the number of other files, by ending.
        held_out: the paths of the images in a held-out part of its own; empty if it has none.
        note: how the folders were understood, if that may not be expected, for a warning.
        unread: endings of ignored files that are pictures by their content.
        unused: the images of parts that are not used.
    """

    name: str
    images: StoredImages
    classes: list[str | None]
    rejects: list[Reject] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    held_out: Set[str] = frozenset()
    note: str = ""
    unread: set[str] = field(default_factory=set)
    unused: StoredImages = field(default_factory=StoredImages)

    def warn(self) -> None:
        """Issue a `DataWarning` with the note, and one for pictures that are not read."""
        if self.note:
            warnings.warn(self.note, DataWarning, stacklevel=3)
        self.warn_of_unread()
        sets = {ending: number for ending, number in self.ignored.items() if ending in (*ARRAY_ENDINGS, SHARD_ENDING)}
        if self.images and sets:
            listed = ", ".join(f"{ending}: {number}" for ending, number in sets.items())
            warnings.warn(
                f"{self.name}: {counted(sum(sets.values()), 'file is', 'files are')} left out, because other files are "
                f"images ({listed}); move what holds images to a folder of its own.",
                DataWarning,
                stacklevel=3,
            )

    def warn_of_unread(self) -> None:
        """Issue a `DataWarning` for pictures that are not read."""
        others = OTHER_PICTURES | self.unread
        if unread := {ending: number for ending, number in self.ignored.items() if ending in others}:
            total = sum(unread.values())
            listed = ", ".join(f"{printable(ending)}: {number}" for ending, number in unread.items())
            what, them = ("its format", "it") if total == 1 else ("their formats", "them")
            warnings.warn(
                f"{self.name}: {counted(total, 'picture is', 'pictures are')} left out, because nelbo does not read "
                f"{what} ({listed}); convert {them} to PNG.",
                DataWarning,
                stacklevel=4,
            )

    def add(self, stored: StoredImage, name: str | None) -> None:
        """Add a file, or each page of a TIFF file unless it has the ending of another format, with the class `name`."""
        ending = os.path.splitext(stored.path)[1].lower()
        paged = ending in PAGED_ENDINGS or ending not in IMAGE_ENDINGS
        pages = pages_of(stored) if paged else [stored]
        self.images.extend(pages)
        self.classes.extend([name] * len(pages))

    def where(self, kept: Sequence[bool]) -> "Listing":
        """Return the listing of some of the images (one entry of `kept` per image); the others are unused."""
        if all(kept):
            return replace(self)
        images = StoredImages(image for image, keep in zip(self.images, kept, strict=True) if keep)
        classes = [name for name, keep in zip(self.classes, kept, strict=True) if keep]
        left = (image for image, keep in zip(self.images, kept, strict=True) if not keep)
        return replace(self, images=images, classes=classes, unused=StoredImages((*self.unused, *left)))


def list_folder(root: Path) -> Listing:
    """List the images under `root`, sorted by path, with the first sub-folder as the class; `root` may be one image.

    A file without an ending, or with an unknown one, is an image if its first bytes say so; a TIFF file only without an
    ending, because camera and microscope formats begin alike. Other files and hidden files and folders (names that
    begin with a dot) are ignored and counted. Symbolic links are followed. Each folder is visited once and real folders
    come first, so loops end. Folders named like parts of a data set (`train`, `test`, `val`) are its parts, not
    classes; see `parts_of`.
    """
    listing = Listing(printable(os.path.basename(os.path.realpath(root))), StoredImages(), [])
    if not os.path.isdir(root):
        listing.add(StoredImage(str(root)), None)
        return listing
    folders = list[Folders]()
    for path in sorted(_walk(root, listing)):
        if fault := _fault(path):  # opening a pipe or a device could block
            listing.rejects.append(Reject(printable(path), fault))
            continue
        listing.add(StoredImage(str(path)), None)
        inside = path.relative_to(root).parts[:-1]
        folders += [inside] * (len(listing.images) - len(folders))  # one for each page
    return _in_parts(listing, folders, root)


def _in_parts(listing: Listing, folders: Sequence[Folders], root: Path) -> Listing:
    """Return the listing with its classes, without the images of parts that are not used; see `parts_of`."""
    parts = parts_of(folders, printable(root))
    divided = replace(listing, classes=parts.classes).where(parts.used)
    divided.ignored.update({f"image of the part {printable(name)}": count for name, count in parts.unused.items()})
    apart = {image.path for image, held in zip(listing.images, parts.held_out, strict=True) if held}
    return replace(divided, held_out=apart, note=parts.note)


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
    """Yield the paths of images under `root`, by ending or content; count the others in `listing`."""
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
            elif ending in IMAGE_ENDINGS or _is_image(entry, ending, listing):
                yield Path(entry.path)
            else:
                listing.ignored[ending or "no ending"] += 1


def _is_image(entry: os.DirEntry[str], ending: str, listing: Listing) -> bool:
    """Return whether a file without the ending of an image is one by its first bytes; other pictures are noted."""
    if ending in OTHER_ENDINGS or ending.endswith("~"):
        return False
    try:
        if not entry.is_file():  # opening a pipe or a device could block
            return False
        with open(entry.path, "rb") as file:
            start = file.read(SIGNATURE_BYTES)
    except OSError:
        return False
    kind = format_of(start)
    if kind == "TIFF" and ending:
        listing.unread.add(ending)
        return False
    return kind is not None and (kind != "BMP" or start[6:10] == bytes(4))  # a text may begin with BM
