"""The archive: a header and blocks of images, each with its own index and check sums. docs/format.md specifies it.

A damaged block loses its own images only: the next one is found by its mark. Blocks are complete or absent, so that a
writer that was stopped goes on after the last complete one.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import BinaryIO

from nelbo.codec.bitstream import LARGEST_IMAGE, MAGIC
from nelbo.codec.header import RESTORE, HeaderReader, varint
from nelbo.errors import CodecError, shown

ARCHIVE_MARK, ARCHIVE_FORMAT = 0x70, 1
FINGERPRINT = 8  # bytes
HEAD_BYTES = 2 + FINGERPRINT
BLOCK_MARK, END_MARK = b"\x9dNBK", b"\x9dEND"
MARK_BYTES = 4
FIRST_BYTES = MARK_BYTES + 4 * 5  # at least the mark and the numbers of a block
MOST_INDEX = 1 << 24  # bytes of an index, unpacked
MOST_IMAGES = 1 << 16  # in a block
PIXELS_A_BYTE, FREE_PIXELS = 1 << 12, 1 << 20  # a block may hold so many pixels for each of its bytes, and so many more


@dataclass(frozen=True)
class Member:
    """An image of an archive.

    Attributes:
        name: its path, relative to the folder that was packed, with / between the parts.
        height, width: of the image.
        label: its class by name, or None.
        time: when it was last changed, in seconds since 1970; None if that is unknown.
    """

    name: str
    height: int
    width: int
    label: str | None = None
    time: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def path(self) -> str:
        """Its name, in a folder of its class if that is known."""
        return self.name if self.label is None else f"{self.label.replace('/', '-')}/{self.name}"


FIELDS = tuple(field.name for field in fields(Member))


def numbered(number: int) -> str:
    """Return the name of an image that has only a number."""
    return f"{number:05d}"


def check_path(path: str) -> str:
    """Return the path of an image in an archive, if it is relative and stays below the folder it is unpacked into.

    Raises:
        CodecError: it isn't.
    """
    parts = path.split("/")
    plain = path.isprintable() and not any(letter in path for letter in "\\:")
    if not plain or any(part in ("", ".", "..") or part.strip(" .") == "" for part in parts):
        raise CodecError(
            f"an archive cannot have an image with the name {shown(path)}: a name must be a relative path of printable "
            "characters, without backslashes, colons or empty parts; rename the image."
        )
    return path


@dataclass(frozen=True)
class Block:
    """A block of an archive.

    Attributes:
        number: its place in the archive, from 0.
        first: number of images before it.
        members: its images.
        content: the output of `ArchiveCodec.encode`.
    """

    number: int
    first: int
    members: Sequence[Member]
    content: bytes

    def to_bytes(self) -> bytes:
        """Return the block with its mark, its index and its check sums."""
        index = _packed(self.first, self.members)
        head = BLOCK_MARK + b"".join(map(varint, (self.number, len(self.members), len(index), len(self.content))))
        head += index
        return head + _check(head) + self.content + _check(self.content)


def header(fingerprint: bytes) -> bytes:
    """Return the beginning of an archive by the model with this fingerprint."""
    return bytes([MAGIC, ARCHIVE_MARK | ARCHIVE_FORMAT]) + fingerprint[:FINGERPRINT]


def end(num_blocks: int, num_images: int) -> bytes:
    """Return the end of an archive."""
    tail = END_MARK + varint(num_blocks) + varint(num_images)
    return tail + _check(tail)


def read_header(file: BinaryIO) -> bytes:
    """Read the beginning of an archive; return the fingerprint of its model.

    Raises:
        CodecError: it is no archive, or one of a later version.
    """
    start = file.read(HEAD_BYTES)
    if len(start) < HEAD_BYTES or start[0] != MAGIC or start[1] & 0xF0 != ARCHIVE_MARK:
        raise CodecError(
            "this is not an archive: it does not start with the bytes 9D 7x; choose a file written by `nelbo pack`."
        )
    if start[1] & 0x0F != ARCHIVE_FORMAT:
        raise CodecError(
            f"the archive has version {start[1] & 0x0F} of the format, and this nelbo reads version {ARCHIVE_FORMAT}; "
            "upgrade nelbo to read it."
        )
    return start[2:]


@dataclass(frozen=True)
class Found:
    """A block as `scan` finds it, with its images but without its content.

    Attributes:
        number, members: see `Block`.
        place, length: of its content in the file.
        after: where the next block begins.
    """

    number: int
    members: Sequence[Member]
    place: int
    length: int
    after: int

    def read(self, file: BinaryIO) -> bytes:
        """Read the content.

        Raises:
            CodecError: it is cut short, or its check sum differs.
        """
        file.seek(self.place)
        content, check = file.read(self.length), file.read(4)
        if len(content) < self.length or check != _check(content):
            raise CodecError(f"block {self.number} of the archive is damaged: its check sum does not match; {RESTORE}")
        return content


@dataclass(frozen=True)
class Contents:
    """What `scan` finds in an archive.

    Attributes:
        blocks: the blocks whose index is intact, in order.
        complete: whether the archive has its end, and all the blocks that it states.
        lost: the number of images that are missing, if the end states it; else None.
    """

    blocks: Sequence[Found]
    complete: bool
    lost: int | None


def scan(file: BinaryIO) -> Contents:
    """Find the blocks of an archive without reading their content; damaged ones are passed over."""
    blocks, place = list[Found](), HEAD_BYTES
    while True:
        found = _at(file, place)
        if found is None:
            skipped = _next_mark(file, place + 1)
            if skipped is None:
                return Contents(blocks, False, None)
            place = skipped
        elif isinstance(found, Found):
            blocks.append(found)
            place = found.after
        else:
            num_blocks, num_images = found
            have = sum(len(block.members) for block in blocks)
            return Contents(blocks, len(blocks) == num_blocks and have == num_images, max(num_images - have, 0))


def _at(file: BinaryIO, place: int) -> Found | tuple[int, int] | None:
    """Return the block at a place; or the end's numbers of blocks and images; or None if neither is intact."""
    file.seek(place)
    start = file.read(FIRST_BYTES)
    reader = HeaderReader(start)
    try:
        mark = reader.take(MARK_BYTES)
        if mark == END_MARK:
            numbers = reader.varint(), reader.varint()
            return numbers if reader.take(4) == _check(start[: reader.place - 4]) else None
        if mark != BLOCK_MARK:
            return None
        number, num, index, length = (reader.varint() for _ in range(4))
        if num > MOST_IMAGES or index > MOST_INDEX:
            return None
        file.seek(place)
        head, check = file.read(reader.place + index), file.read(4)
        if check != _check(head):
            return None
        members = _unpacked(head[reader.place :], num)
    except CodecError:
        return None
    if sum(member.height * member.width for member in members) > PIXELS_A_BYTE * length + FREE_PIXELS:
        return None
    begin = place + len(head) + 4
    return Found(number, members, begin, length, begin + length + 4)


def _next_mark(file: BinaryIO, place: int) -> int | None:
    """Return the next place with the mark of a block or of the end, or None."""
    file.seek(place)
    held = b""
    while piece := file.read(1 << 20):
        held += piece
        places = [found for found in (held.find(BLOCK_MARK), held.find(END_MARK)) if found >= 0]
        if places:
            return place + min(places)
        place += max(len(held) - MARK_BYTES + 1, 0)
        held = held[-MARK_BYTES + 1 :]
    return None


def _check(content: bytes) -> bytes:
    return zlib.crc32(content).to_bytes(4, "big")


def _packed(first: int, members: Sequence[Member]) -> bytes:
    """Return the index: each field as one list, or as one value for all; null for a name that is a number."""
    rows = [asdict(member) for member in members]
    for number, row in enumerate(rows, first):
        row["name"] = None if row["name"] == numbered(number) else row["name"]
    columns = {name: [row[name] for row in rows] for name in FIELDS}
    short = {name: values[0] if len(set(values)) == 1 else values for name, values in columns.items()}
    text = json.dumps({"first": first, **short}, separators=(",", ":"), ensure_ascii=False)
    return zlib.compress(text.encode(), 9)


def _unpacked(index: bytes, num: int) -> list[Member]:
    """Read an index of `num` images.

    Raises:
        CodecError: it is damaged.
    """
    try:
        found = json.loads(zlib.decompressobj().decompress(index, MOST_INDEX))
        first, columns = found["first"], [found[name] for name in FIELDS]
        lists = [column if isinstance(column, list) else [column] * num for column in columns]
        rows = zip(range(first, first + num), *lists, strict=True)
        members = [Member(numbered(number) if name is None else name, *rest) for number, name, *rest in rows]
    except (zlib.error, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CodecError(f"the index of a block is damaged ({error}).") from error
    if not all(map(_is_sound, members)):
        raise CodecError("the index of a block is damaged.")
    return members


def _is_sound(member: Member) -> bool:
    """Return whether the fields of a member have the right types and an image of an allowed size."""
    whole = all(type(value) is int for value in (member.height, member.width))
    times = member.time is None or type(member.time) is int
    texts = isinstance(member.name, str) and isinstance(member.label, str | None)
    return (
        whole
        and times
        and texts
        and min(member.size) >= 1
        and max(member.size) <= LARGEST_IMAGE
        and member.height * member.width <= LARGEST_IMAGE
    )
