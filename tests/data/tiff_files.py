"""A small TIFF writer for the tests: any depth, sign, byte order, arrangement and number of pages."""

import struct
import zlib
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, DESCRIPTION = 256, 257, 258, 259, 262, 270
OFFSETS, SAMPLES, ROWS, COUNTS, PLANAR, SUBFILE, SAMPLE_FORMAT = 273, 277, 278, 279, 284, 254, 339
ASCII, SHORT, LONG = 2, 3, 4
BYTES, CODES = {ASCII: 1, SHORT: 2, LONG: 4}, {ASCII: "s", SHORT: "H", LONG: "I"}
FORMATS = {"u": 1, "i": 2, "f": 3}
RAW, DEFLATE = 1, 8


@dataclass(frozen=True)
class Page:
    """One page: samples H x W or H x W x C, and how they are stored. `tags` are (tag, type, little-endian content)."""

    values: np.ndarray
    bits: int
    photometric: int = 1
    planar: bool = False
    deflate: bool = False
    tags: tuple[tuple[int, int, bytes], ...] = ()

    def strips(self, order: str) -> list[bytes]:
        """Return the stored samples: one strip, or one per plane."""
        height, width, channels = self.shape
        values = self.values.reshape(self.shape)
        planes = np.moveaxis(values, 2, 0) if self.planar else values.reshape(1, height, width * channels)
        strips = [packed(plane, self.bits, order) for plane in planes]
        return [zlib.compress(strip) for strip in strips] if self.deflate else strips

    @property
    def shape(self) -> tuple[int, int, int]:
        return (*self.values.shape, 1)[:3]


def packed(rows: np.ndarray, bits: int, order: str) -> bytes:
    """Return rows (n, samples) as TIFF stores them: whole bytes in the byte order, fewer bits from the highest on."""
    if bits % 8 == 0:
        return rows.astype(rows.dtype.newbyteorder(order)).tobytes()
    every = (rows[..., None].astype(np.int64) >> np.arange(bits)[::-1]) & 1
    return np.packbits(every.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def tiff(*pages: Page, order: str = "<") -> bytes:
    """Return a TIFF file of these pages."""
    content, link = bytearray((b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 0)), 4
    for page in pages:
        starts, strips = [], page.strips(order)
        for strip in strips:
            starts.append(len(content))
            content += strip + b"\0" * (len(strip) % 2)
        struct.pack_into(f"{order}I", content, link, len(content))
        link = _append_tags(content, _tags(page, starts, [len(strip) for strip in strips], order), order)
    return bytes(content)


def _tags(page: Page, starts: list[int], counts: list[int], order: str) -> dict[int, tuple[int, bytes]]:
    """Return the type and the content of each tag."""
    height, width, channels = page.shape
    numbers = {
        WIDTH: (SHORT, [width]),
        HEIGHT: (SHORT, [height]),
        BITS: (SHORT, [page.bits] * channels),
        COMPRESSION: (SHORT, [DEFLATE if page.deflate else RAW]),
        PHOTOMETRIC: (SHORT, [page.photometric]),
        OFFSETS: (LONG, starts),
        SAMPLES: (SHORT, [channels]),
        ROWS: (SHORT, [height]),
        COUNTS: (LONG, counts),
        PLANAR: (SHORT, [2 if page.planar else 1]),
        SAMPLE_FORMAT: (SHORT, [FORMATS[page.values.dtype.kind]] * channels),
    }
    tags = {tag: (kind, struct.pack(f"{order}{len(v)}{CODES[kind]}", *v)) for tag, (kind, v) in numbers.items()}
    return tags | {tag: (kind, body) for tag, kind, body in page.tags}


def _append_tags(content: bytearray, tags: dict[int, tuple[int, bytes]], order: str) -> int:
    """Append a directory of tags, and return where the offset of the next one belongs."""
    table, outside = struct.pack(f"{order}H", len(tags)), bytearray()
    after = len(content) + 2 + 12 * len(tags) + 4
    for tag, (kind, body) in sorted(tags.items()):
        place = body.ljust(4, b"\0")
        if len(body) > 4:
            place = struct.pack(f"{order}I", after + len(outside))
            outside += body + b"\0" * (len(body) % 2)
        table += struct.pack(f"{order}HHI", tag, kind, len(body) // BYTES[kind]) + place
    link = len(content) + len(table)
    content += table + b"\0\0\0\0" + outside
    return link
