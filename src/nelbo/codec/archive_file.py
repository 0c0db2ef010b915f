"""The archive: a header and blocks of images, each with its own index and check sums. docs/format.md specifies it.

A damaged block loses its own images only: the next one is found by its mark. Blocks are complete or absent, so that a
writer that was stopped continues after the last complete one.
"""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from nelbo.codec.archive_index import MOST_INDEX, Member, packed, unpacked
from nelbo.codec.header import RESTORE, HeaderReader, varint
from nelbo.codec.raw_image import MAGIC
from nelbo.errors import CodecError

ARCHIVE_MARK, ARCHIVE_FORMAT = 0x70, 1
FINGERPRINT = 8  # bytes
HEAD_BYTES = 2 + FINGERPRINT
BLOCK_MARK, END_MARK = b"\x9dNBK", b"\x9dEND"
MARK_BYTES = 4
FIRST_BYTES = MARK_BYTES + 4 * 5  # at least the mark and the numbers of a block
MOST_IMAGES, IMAGES_A_BYTE = 1 << 12, 8  # in a block, and for each byte of its content
EFFORT = 1 << 26  # bytes that a reader reads in vain, and four times the file, before it gives a damaged archive up


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
        index = packed(self.first, self.members)
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
        start: where the block begins.
        place, length: of its content in the file.
        after: where the next block begins.
    """

    number: int
    members: Sequence[Member]
    start: int
    place: int
    length: int
    after: int

    def read(self, file: BinaryIO) -> bytes:
        """Read the content.

        Raises:
            CodecError: it is cut short, or its check sum differs.
        """
        size = file.seek(0, os.SEEK_END)
        file.seek(self.place)
        whole = size >= self.after  # before memory is allocated
        content, check = (file.read(self.length), file.read(4)) if whole else (b"", b"")
        if not whole or check != _check(content):
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
    blocks, place, wasted, size = list[Found](), HEAD_BYTES, 0, file.seek(0, os.SEEK_END)
    while True:
        found = _at(file, place, size)
        if found is None:
            wasted += max(file.tell() - place, 0)
            skipped = _next_mark(file, place + 1) if wasted < EFFORT + 4 * size else None
            if skipped is None:
                return Contents(blocks, False, None)
            place = skipped
        elif isinstance(found, Found):
            blocks.append(found)
            place = found.after
        else:
            num_blocks, num_images = found
            have = sum(len(block.members) for block in blocks)
            numbers = [block.number for block in blocks]
            whole = numbers == list(range(num_blocks)) and have == num_images
            return Contents(blocks, whole, max(num_images - have, 0))


def _at(file: BinaryIO, place: int, size: int) -> Found | tuple[int, int] | None:
    """Return the block at a place of a file of `size` bytes; or the numbers of its end; or None for neither."""
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
        if num > min(MOST_IMAGES, IMAGES_A_BYTE * length) or index > min(MOST_INDEX, size):
            return None
        file.seek(place)
        head, check = file.read(reader.place + index), file.read(4)
        if check != _check(head):
            return None
        members = unpacked(head[reader.place :], num)
    except CodecError:
        return None
    begin = place + len(head) + 4
    return Found(number, members, place, begin, length, begin + length + 4)


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
