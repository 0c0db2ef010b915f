"""Side data of an image file: its orientation, and what else there is by name. A fault in it rejects no pixels."""

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 10**6  # that are read in one file: more than a picture of `MAX_PIXELS` needs
TRAILING = "trailing"  # stands for bytes that belong to no chunk; names of chunks have four letters
EXIF_PREFIX = b"Exif\0\0"
JFIF = b"\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0"  # says that the colours are YCbCr, and no resolution


def orientation_of(image: Image.Image, exif: bytes = b"") -> int:
    """Return the EXIF orientation, 1..8: 1, upright, if there is none or the EXIF data is damaged.

    Args:
        exif: EXIF data to read instead of that of the image; empty to read that of the image.
    """
    try:
        tags = image.getexif()
        if exif:
            tags = Image.Exif()
            tags.load(exif)
        orientation = tags.get(ORIENTATION, 1)
    except Exception:  # damaged EXIF data raises almost any error
        return 1
    return orientation if orientation in TURNS else 1


def chunks_of(image: Image.Image) -> list[str]:
    """Return the names of the chunks in the PNG file of an open image; empty for an image without such a file.

    Pillow passes over most chunks, so they are read from the file: eight bytes of each chunk, and not its contents. The
    position in the file does not change.

    Returns:
        Each name once, in order, without IEND; `TRAILING` at the end if bytes follow the last chunk that was read.
    """
    if image.format != "PNG":
        return []
    with suppress(OSError, ValueError):  # a closed or replaced file
        file = getattr(image, "_fp", None)
        if file is not None and not file.closed:
            position = file.tell()
            try:
                return _chunk_names(file)
            finally:
                file.seek(position)
        if filename := getattr(image, "filename", ""):
            with open(filename, "rb") as file:
                return _chunk_names(file)
    return []


def _chunk_names(file: BinaryIO) -> list[str]:
    """Read the names of the chunks of a PNG file, each once."""
    file.seek(0)
    if file.read(8) != PNG_SIGNATURE:
        return []
    names, start = dict[str, None](), 8
    for _ in range(MOST_CHUNKS):
        if not (head := file.read(8)):
            return list(names)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if len(name) < 4 or not name.isalnum():
            break
        file.seek(start := start + 12 + length)
        if name == b"IEND":
            return [*names, TRAILING] if file.read(1) else list(names)
        names[name.decode("ascii")] = None
    return [*names, TRAILING]


@dataclass(frozen=True)
class Bare:
    """A file without its side data, and the EXIF data that was left out."""

    content: bytes
    exif: bytes = b""


def without_metadata(content: bytes, kind: str) -> Bare | None:
    """Return a file without the parts that do not change its pixels; None for a format in which they do no harm.

    Args:
        content: the file.
        kind: its format, by Pillow's name.
    """
    strip = STRIP.get(kind)
    return None if strip is None else strip(content)


def _png(content: bytes) -> Bare:
    """Keep the chunks that a decoder must read, and the transparency."""
    kept, exif, start = [content[:8]], b"", 8
    while start + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, start)
        chunk = content[start : start + 12 + length]
        critical = not kind[0] & 0x20
        if critical or kind == b"tRNS":
            kept.append(chunk)
        elif kind == b"eXIf":
            exif = chunk[8:-4]
        start += 12 + length
    return Bare(b"".join(kept), exif)


def _jpeg(content: bytes) -> Bare:
    """Leave out comments and application segments, except those that name the colours (JFIF and Adobe)."""
    kept, exif, start = [content[:2]], b"", 2
    while start + 4 <= len(content) and content[start] == 0xFF and content[start + 1] != 0xDA:
        marker, length = content[start + 1], int.from_bytes(content[start + 2 : start + 4], "big")
        segment = content[start : start + 2 + length]
        if marker == 0xE1 and segment[4:].startswith(EXIF_PREFIX):
            exif = exif or segment[4:]
        elif marker == 0xE0 and segment[4:].startswith(b"JFIF"):
            kept.append(JFIF)
        elif marker == 0xEE and segment[4:].startswith(b"Adobe"):
            kept += [segment] if len(segment) >= 16 else []
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(segment)
        start += 2 + length
    return Bare(b"".join([*kept, content[start:]]), exif)


STRIP: dict[str, Callable[[bytes], Bare]] = {"PNG": _png, "JPEG": _jpeg}
