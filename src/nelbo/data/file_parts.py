"""The parts of an image file by name, and whether bytes follow its end: read from its structure, not from its pixels.

Pillow passes over most parts that are not pixels. Here, each is known by the name of its chunk in a PNG file, or by the
number of the tag that has the same content in a TIFF file.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from nelbo.data.stored import SIGNATURE_BYTES, format_of

Part = str | int
Parts = tuple[list[Part], bool]  # each name once, in order, and whether bytes follow the last part that was read

MOST_CHUNKS = 10**6  # that are read in one file: more than a picture of `MAX_PIXELS` needs
PROFILE, EXIF, XMP, PHOTOSHOP, COMMENT = "iCCP", "eXIf", 700, 34377, "COM"
RIFF_PARTS: dict[bytes, Part] = {b"ICCP": PROFILE, b"EXIF": EXIF, b"XMP ": XMP}
RIFF_PIXELS = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF")
SEGMENTS: dict[tuple[str, bytes], Part | None] = {  # of a JPEG file, by the start of their contents; None: the layout
    ("APP0", b"JFIF\0"): None,
    ("APP1", b"Exif\0\0"): EXIF,
    ("APP1", b"http://ns.adobe.com/xap/1.0/\0"): XMP,
    ("APP1", b"http://ns.adobe.com/xmp/extension/\0"): XMP,
    ("APP2", b"ICC_PROFILE\0"): PROFILE,
    ("APP13", b"Photoshop 3.0\0"): PHOTOSHOP,
    ("APP14", b"Adobe"): None,
    ("COM", b""): COMMENT,
}
BMP_PROFILES = (b"DEBM", b"KNIL")  # embedded, or in another file
# In bytes, by the type of a tag.
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
DATA_TAGS = ((273, 279), (324, 325), (513, 514))  # places and sizes in bytes: strips, tiles and a JPEG preview
DIRECTORY_TAGS = (330, 34665, 34853, 40965)
PLACE_TAGS = frozenset((*DIRECTORY_TAGS, *(tag for pair in DATA_TAGS for tag in pair)))
WHOLE_NUMBERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}  # types of tags
MOST_DIRECTORIES = 10**4  # that are read in one file
MOST_FILLING = 15  # zeros at the end of a TIFF file: writers fill words, and Pillow 16 bytes


def parts_in(file: BinaryIO, kind: str, frames: int = 1) -> Parts:
    """Read the parts of an image file.

    Args:
        kind: its format, by Pillow's name.
        frames: number of pictures in a JPEG file.

    Raises:
        ValueError, OverflowError, struct.error: it is no such file, or damaged.
    """
    file.seek(0)
    if format_of(file.read(SIGNATURE_BYTES)) != kind:
        raise ValueError(f"not a {kind} file")
    file.seek(0)
    return _jpeg(file, frames) if kind == "JPEG" else READERS[kind](file)


def segments_of(found: Sequence[tuple[str, bytes]], frames: int) -> list[Part]:
    """Name the segments of a JPEG file, which Pillow lists with their contents; the list of its pictures if it has one.

    Args:
        frames: number of pictures that are known from the list; 1 if Pillow could not read it.
    """
    known = SEGMENTS | ({("APP2", b"MPF\0"): None} if frames > 1 else {})  # the frames are counted
    parts = dict[Part, None]()
    for name, content in found:
        same = (part for (marker, start), part in known.items() if marker == name and content.startswith(start))
        if (part := next(same, name)) is not None:
            parts[part] = None
    return list(parts)


def _png(file: BinaryIO) -> Parts:
    """Read eight bytes of each chunk."""
    names, start = dict[Part, None](), 8
    for _ in range(MOST_CHUNKS):
        file.seek(start)
        if not (head := file.read(8)):
            return list(names), False
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if len(name) < 4 or not name.isalnum():
            break
        start += 12 + length
        if name == b"IEND":
            file.seek(start)
            return list(names), bool(file.read(1))
        names[name.decode("ascii")] = None
    return list(names), True


def _riff(file: BinaryIO) -> Parts:
    """Read the chunks of a WebP file, up to the end that it declares."""
    names, start = dict[Part, None](), 12
    end = 8 + int.from_bytes(file.read(8)[4:], "little")
    while start + 8 <= end:
        file.seek(start)
        name, length = struct.unpack("<4sI", file.read(8))
        if not name.strip().isalnum():
            return list(names), True
        if name not in RIFF_PIXELS:
            names[RIFF_PARTS.get(name, name.strip().decode("ascii"))] = None
        start += 8 + length + length % 2
    file.seek(max(start, end + end % 2))
    return list(names), bool(file.read(1))


def _jpeg(file: BinaryIO, frames: int) -> Parts:
    """Look for the end of the last picture; its segments are in `segments_of`."""
    content, end = file.read(), 0
    for _ in range(frames):
        start = content.find(b"\xff\xd8\xff", end)
        end = _end_of_jpeg(content, start + 2) if start >= 0 else len(content)
    return [], end < len(content)


def _end_of_jpeg(content: bytes, here: int) -> int:
    """Return where the picture ends whose first marker after its start is at `here`.

    From the first scan on, the two bytes of the end are searched for: the samples of a scan do not contain them.
    """
    while content[here : here + 1] == b"\xff" and content[here + 1 : here + 2] != b"\xda":
        while content[here + 1 : here + 2] == b"\xff":  # a marker may follow bytes that fill
            here += 1
        here += 2 + int.from_bytes(content[here + 2 : here + 4], "big")
    end = content.find(b"\xff\xd9", here)
    return len(content) if end < 0 else end + 2


def _bmp(file: BinaryIO) -> Parts:
    """Compute the end of the pixels and of a colour profile, unless the file declares a later end."""
    header = file.read(14 + 124)
    end, offset, size = struct.unpack_from("<I4xII", header, 2)
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", header, 18)
        packed = False
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", header, 18)
        packed = compression not in (0, 3, 6)
    if not packed:
        end = max(end, offset + (width * bits + 31) // 32 * 4 * abs(height))
    parts = list[Part]()
    if size >= 124 and header[70:74] in BMP_PROFILES:
        start, length = struct.unpack_from("<II", header, 126)
        parts, end = [PROFILE], max(end, 14 + start + length)
    file.seek(end)
    return parts, end > offset and bool(file.read(1))


def _tiff(file: BinaryIO) -> Parts:
    """Compute the end of all pages and their tags. The tags themselves are not listed: Pillow knows those of a page."""
    header = file.read(16)
    order, is_big = "<" if header.startswith(b"II") else ">", b"+" in header[2:4]
    places, seen = [struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", header, 8 if is_big else 4)[0]], set[int]()
    end, length = 16 if is_big else 8, file.seek(0, os.SEEK_END)
    while places and len(seen) < MOST_DIRECTORIES:
        if not (place := places.pop()) or place in seen:
            continue
        seen.add(place)
        values = dict[int, tuple[int, ...]]()
        for tag, numbers, past in _directory(file, length, place, order, is_big):
            values[tag], end = numbers, max(end, past)
        places += [place for tag in (0, *DIRECTORY_TAGS) for place in values.get(tag, ())]
        for tag, sizes in DATA_TAGS:
            if len(values.get(tag, ())) != len(values.get(sizes, ())):
                return [], False  # the end of its data is not known
            end = max([end, *map(sum, zip(values.get(tag, ()), values.get(sizes, ()), strict=True))])
    if len(seen) == MOST_DIRECTORIES:
        return [], False
    file.seek(min(end, length))
    rest = file.read(MOST_FILLING + 1)
    return [], any(rest) or len(rest) > MOST_FILLING


def _directory(
    file: BinaryIO, length: int, place: int, order: str, is_big: bool
) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """Yield each tag of a directory with its numbers, if they are places or sizes, and the end of its content.

    Tag 0 has the place of the next directory. `length` is that of the file in bytes.
    """
    whole, count_bytes, letter = (8, 8, "Q") if is_big else (4, 2, "I")
    file.seek(min(place, length))
    (count,) = struct.unpack(f"{order}{'Q' if is_big else 'H'}", file.read(count_bytes))
    entry = 4 + 2 * whole
    content = file.read(min(count * entry + whole, length))
    past = place + count_bytes + len(content)
    yield 0, struct.unpack_from(f"{order}{letter}", content, count * entry), past
    for start in range(0, count * entry, entry):
        tag, kind, number = struct.unpack_from(f"{order}HH{letter}", content, start)
        inside, size = content[start + 4 + whole : start + entry], SIZES.get(kind, 1) * number
        (outside,) = struct.unpack(f"{order}{letter}", inside)
        is_inside, numbers = size <= whole, tuple[int, ...]()
        if tag in PLACE_TAGS and kind in WHOLE_NUMBERS:
            file.seek(min(outside, length))
            stored = inside[:size] if is_inside else file.read(min(size, length))
            numbers = struct.unpack(f"{order}{number}{WHOLE_NUMBERS[kind]}", stored)
        yield tag, numbers, past if is_inside else outside + size


READERS: dict[str, Callable[[BinaryIO], Parts]] = {"PNG": _png, "WEBP": _riff, "BMP": _bmp, "TIFF": _tiff}
