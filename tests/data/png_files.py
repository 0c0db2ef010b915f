"""PNG files that Pillow does not write: chunks of one's own, and 16 bits in colour."""

import struct
import zlib

import numpy as np

KINDS = {2: 4, 3: 2, 4: 6}  # colour type by the number of samples


def chunk(kind: bytes, body: bytes, damaged: bool = False) -> bytes:
    """Return a chunk, with a wrong checksum if it is to be damaged."""
    checksum = zlib.crc32(kind + body) ^ damaged
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def sixteen_bit_png(values: np.ndarray) -> bytes:
    """Return a PNG file of 16 bits per sample, uint16 H x W x C: grey with alpha, RGB or RGBA."""
    height, width, samples = values.shape
    body = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))
    header = struct.pack(">IIBBBBB", width, height, 16, KINDS[samples], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
