"""Side data of an image file: its orientation, and what else there is by name. A fault in it rejects no pixels."""

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from nelbo.data.file_parts import Part, Parts, parts_in, segments_of
from nelbo.data.stored import FORMATS

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
TRAILING = "trailing"  # stands for bytes that belong to no chunk; names of chunks have four letters
FILE = "_nelbo_file"  # attribute of an image
FAULTS = (OSError, ValueError, OverflowError, struct.error)  # of a closed, replaced or damaged file
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


def remember_file(image: Image.Image) -> None:
    """Let `chunks_of` read the stream that an image was opened from; Pillow forgets it when it loads the image."""
    if (stream := getattr(image, "fp", None)) is not None:
        setattr(image, FILE, stream)


def chunks_of(image: Image.Image) -> list[Part]:
    """Return the names of the parts in the file of an open image; empty for an image without a file.

    They are read from the structure of the file. The position in the file does not change.

    Returns:
        Each name once, in order; `TRAILING` at the end if bytes follow the last part that was read. Of a TIFF file,
        only `TRAILING`, for its first page.
    """
    kind, frames = image.format or "", 1
    names = list[Part]()
    if isinstance(image, JpegImageFile):
        kind, frames = "JPEG", getattr(image, "n_frames", 1)
        names = segments_of(image.applist, frames)
    if kind not in FORMATS or (kind == "TIFF" and image.tell()):
        return names
    found, trailing = _parts_of(image, kind, frames)
    return [*names, *found, *([TRAILING] if trailing else [])]


def _parts_of(image: Image.Image, kind: str, frames: int) -> Parts:
    """Read the parts of the file of an open image: of a stream that it knows, or else of the file of its name."""
    for name in (FILE, "_fp", "fp"):
        with suppress(*FAULTS):
            if (stream := getattr(image, name, None)) is not None:
                position = stream.tell()
                try:
                    return parts_in(stream, kind, frames)
                finally:
                    stream.seek(position)
    with suppress(*FAULTS):
        if filename := getattr(image, "filename", ""):
            with open(filename, "rb") as file:
                return parts_in(file, kind, frames)
    return [], False


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
