"""Where an encoded image is stored: a file, a page of it, a member of a tar shard, or a row of a table."""

import hashlib
import io
import os
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Protocol, SupportsInt, overload

# The first bytes of a file, by format. A WebP file has its size between the two parts.
SIGNATURES = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+", b"II+\0"),
}
FORMATS = tuple(SIGNATURES)
SIGNATURE_BYTES = 12


class Unreadable(Exception):
    """The reason why a file is not a usable image. Becomes a `Reject` or a `DataError` that names the file."""


class Table(Protocol):
    """A table whose rows are encoded images, in a file of its own format."""

    def read(self, row: int) -> bytes:
        """Return the encoded image in a row.

        Raises:
            Unreadable: the row has none.
        """
        ...


@dataclass(frozen=True)
class StoredImage:
    """The location of an encoded image.

    Attributes:
        path: the file, or the name of the image in its container.
        container: a tar shard, in which the image is `length` bytes at `offset`; a table, in which it is the row
            `offset`; None for an image in a file of its own.
        page: the page of a TIFF file of several pages, from 0; None for any other file.
    """

    path: str
    container: "str | Table | None" = None
    offset: int = 0
    length: int = 0
    page: int | None = None

    @property
    def name(self) -> str:
        """The path, with the page in brackets if there is one, as printable text."""
        return printable(self.path) + ("" if self.page is None else f"[{self.page}]")

    @property
    def file_name(self) -> str:
        """The name of the file, with the page before its ending if there is one: scan-003.tif."""
        path = Path(self.path)
        return path.name if self.page is None else f"{path.stem}-{self.page:03d}{path.suffix}"

    def located(self) -> "StoredImage":
        """Return the location with the absolute path of the file that is opened."""
        if self.container is None:
            return replace(self, path=os.path.abspath(self.path))
        return replace(self, container=os.path.abspath(self.container)) if isinstance(self.container, str) else self

    def open(self) -> BinaryIO:
        """Open the encoded bytes as a file."""
        if self.container is None:
            return open(self.path, "rb")
        if not isinstance(self.container, str):
            return io.BytesIO(self.container.read(self.offset))
        with open(self.container, "rb") as shard:
            shard.seek(self.offset)
            return io.BytesIO(shard.read(self.length))


class StoredImages(Sequence[StoredImage]):
    """The locations of many images, as numbers and one text: objects would take five times the memory.

    Worker processes share it with their parent, which they would not do with objects: reading those counts references.

    >>> images = StoredImages([StoredImage("a.png"), StoredImage("b.tif", page=2)])
    >>> images[1].name, len(images.taken([1, 1, 0]))
    ('b.tif[2]', 3)
    """

    def __init__(self, images: Iterable[StoredImage] = ()) -> None:
        self._text, self._ends = bytearray(), array("q", [0])  # the paths one after the other, and where each ends
        self._offsets, self._lengths = array("q"), array("q")
        self._pages, self._places = array("i"), array("i")  # -1 for none; of the container in the list of them
        self._containers: list[str | Table | None] = []
        self._place: dict[str | Table | None, int] = {}
        self.extend(images)

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, image: StoredImage) -> None:
        """Add an image."""
        self._text += os.fsencode(image.path)
        self._ends.append(len(self._text))
        self._offsets.append(image.offset)
        self._lengths.append(image.length)
        self._pages.append(-1 if image.page is None else image.page)
        if image.container not in self._place:
            self._place[image.container] = len(self._containers)
            self._containers.append(image.container)
        self._places.append(self._place[image.container])

    def extend(self, images: Iterable[StoredImage]) -> None:
        """Add several images."""
        for image in images:
            self.append(image)

    def taken(self, indices: Iterable[SupportsInt]) -> "StoredImages":
        """Return the images at `indices`, in that order."""
        return StoredImages(self[int(index)] for index in indices)

    @property
    def num_bytes(self) -> int:
        """Memory that the locations take, in bytes."""
        numbers = (self._ends, self._offsets, self._lengths, self._pages, self._places)
        return len(self._text) + sum(len(each) * each.itemsize for each in numbers)

    @overload
    def __getitem__(self, index: int) -> StoredImage: ...
    @overload
    def __getitem__(self, index: slice) -> "StoredImages": ...
    def __getitem__(self, index: int | slice) -> "StoredImage | StoredImages":
        if isinstance(index, slice):
            return self.taken(range(len(self))[index])
        i = range(len(self))[index]
        path, page = os.fsdecode(bytes(self._text[self._ends[i] : self._ends[i + 1]])), self._pages[i]
        container = self._containers[self._places[i]]
        return StoredImage(path, container, self._offsets[i], self._lengths[i], None if page < 0 else page)


def printable(path: Path | str) -> str:
    """Return a path as printable text; bytes that are not UTF-8 become backslash escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def format_of(start: bytes) -> str | None:
    """Return the format, one of `FORMATS`, of a file that begins with these `SIGNATURE_BYTES` bytes; None if none."""
    for name, signatures in SIGNATURES.items():
        if start.startswith(signatures) and (name != "WEBP" or start[8:12] == b"WEBP"):
            return name
    return None


def digest_of_names(files: Sequence[StoredImage]) -> str:
    """Return 32 hexadecimal digits that tell the names of files and their order from others.

    The names are relative to the folder that all files share, so that the folder may move.
    """
    start = len(os.path.commonpath({os.path.dirname(file.path) for file in files}))
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(f"{file.path[start:].lstrip(os.sep)}\0{file.page}\0"))
    return digest.hexdigest()[:32]
