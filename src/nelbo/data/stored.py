"""Where an encoded image is stored: a file, a page of it, or a member of a tar shard."""

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

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


@dataclass(frozen=True)
class StoredImage:
    """The location of an encoded image: a file, or `length` bytes at `offset` of a container (a tar shard).

    Attributes:
        page: the page of a TIFF file of several pages, from 0; None for any other file.
    """

    path: str
    container: str | None = None
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
        return replace(self, container=os.path.abspath(self.container))

    def open(self) -> BinaryIO:
        """Open the encoded bytes as a file."""
        if self.container is None:
            return open(self.path, "rb")
        with open(self.container, "rb") as shard:
            shard.seek(self.offset)
            return io.BytesIO(shard.read(self.length))


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
    start = len(os.path.commonpath([os.path.dirname(file.path) for file in files]))
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(f"{file.path[start:].lstrip(os.sep)}\0{file.page}\0"))
    return digest.hexdigest()[:32]
