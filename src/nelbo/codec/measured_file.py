"""A file of measured values: a .nelbo file of the coarse levels, and then the digits. docs/format.md specifies it."""

import hashlib
import math
import struct
import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream
from nelbo.codec.header import RESTORE, HeaderReader, varint
from nelbo.codec.raw_image import MAGIC, VERSION_MARK, RawImage
from nelbo.data import LevelScale
from nelbo.errors import CodecError, ConfigurationError

MEASURED_FORMAT = 3
START = bytes([MAGIC, VERSION_MARK | MEASURED_FORMAT])
FINGERPRINT, HASH = 8, 4  # bytes
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float16", "float32", "float64")


@dataclass(frozen=True, eq=False)
class MeasuredFile:
    """An image of measured values as a file.

    Attributes:
        fingerprint: the first bytes of that of the refinement; empty if the levels are coarse levels already.
        scale: the values that the levels stand for.
        level_hash: of the levels, in which missing pixels are 0.
        mask: which pixels are missing, see `packed`; empty if none is.
        coarse: the file of the coarse levels.
        message: the range coder's output for the digits, or its first bytes.
        length: of the whole message, bytes.
        check: CRC-32 of everything else, as read from a file; None for a new file.
    """

    fingerprint: bytes
    scale: LevelScale
    level_hash: bytes
    mask: bytes
    coarse: Bitstream | RawImage
    message: bytes
    length: int
    check: int | None = None

    @property
    def truncated(self) -> bool:
        """Whether some of the file is missing."""
        cut = isinstance(self.coarse, Bitstream) and self.coarse.truncated
        return cut or len(self.message) < self.length

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        coarse = self.coarse.to_bytes()
        head = START + self.fingerprint + bytes([TYPES.index(self.scale.dtype)])
        head += struct.pack(">dd", self.scale.low, self.scale.quantum) + varint(self.scale.levels) + self.level_hash
        head += varint(len(self.mask)) + varint(len(coarse)) + varint(self.length)
        check = zlib.crc32(head + self.mask + coarse + self.message) if self.check is None else self.check
        return head + check.to_bytes(4, "big") + self.mask + coarse + self.message

    def verify(self) -> None:
        """Check a whole file against its checksum. A truncated file cannot be checked.

        Raises:
            CodecError: they differ.
        """
        if not self.truncated and self.check is not None and replace(self, check=None).to_bytes() != self.to_bytes():
            raise CodecError(f"the file is damaged: its checksum does not match; {RESTORE}")

    @classmethod
    def from_bytes(cls, data: bytes) -> "MeasuredFile":
        """Read a file, or the beginning of one.

        Raises:
            CodecError: not a file of measured values, or a damaged or truncated header.
        """
        reader = HeaderReader(data)
        if reader.take(len(START)) != START:
            raise CodecError("this is not a .nelbo file of measured values; choose a file written by `nelbo compress`.")
        fingerprint, kind = reader.take(FINGERPRINT), reader.take(1)[0]
        low, quantum = struct.unpack(">dd", reader.take(16))
        levels, level_hash = reader.varint(), reader.take(HASH)
        num_mask, num_coarse, length = (reader.varint() for _ in range(3))
        check, mask, rest = int.from_bytes(reader.take(4), "big"), reader.take(num_mask), reader.rest()
        try:
            scale = LevelScale(low, quantum, levels, TYPES[kind])
        except (IndexError, ConfigurationError, OverflowError, ValueError) as error:
            raise CodecError(f"the file is damaged: its header is invalid; {RESTORE}") from error
        if len(rest) > num_coarse + length:
            raise CodecError(f"the file is damaged: it is longer than its header states; {RESTORE}")
        coarse = Bitstream.from_bytes(rest[:num_coarse])
        return cls(fingerprint, scale, level_hash, mask, coarse, rest[num_coarse:], length, check)


def hash_of_levels(levels: Tensor) -> bytes:
    """Return 4 bytes of SHA-256 over the shape and the levels (C, H, W) as 32-bit integers, the low byte first."""
    content = levels.to(torch.int32).contiguous().numpy().astype("<i4").tobytes()
    return hashlib.sha256(str(tuple(levels.shape)).encode() + content).digest()[:HASH]


def packed(observed: Tensor | None) -> bytes:
    """Return a mask (C, H, W) bool as bytes: eight pixels a byte, compressed by zlib; nothing if all are observed."""
    return b"" if observed is None else zlib.compress(np.packbits(observed.numpy()).tobytes(), 9)


def unpacked(mask: bytes, shape: tuple[int, ...]) -> Tensor | None:
    """Return the mask of `shape` that `packed` wrote.

    Raises:
        CodecError: it is damaged.
    """
    if not mask:
        return None
    num, unpacking = math.prod(shape), zlib.decompressobj()
    try:
        content = unpacking.decompress(mask, num // 8 + 2)
    except zlib.error as error:
        raise CodecError(f"the file is damaged ({error}); {RESTORE}") from error
    if len(content) != -(-num // 8) or not unpacking.eof:
        raise CodecError(f"the file is damaged: its mask has {len(content)} bytes; {RESTORE}")
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=num)
    return torch.from_numpy(bits.astype(np.bool_)).view(shape)


def is_measured(data: bytes) -> bool:
    """Return whether bytes begin like a file of measured values."""
    return data[: len(START)] == START
