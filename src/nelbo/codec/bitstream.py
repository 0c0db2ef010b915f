"""The file: a few bytes that say what it is, checks, and a message from coarse to fine. docs/format.md specifies it."""

import hashlib
import lzma
import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nelbo.codec.frozen import FORMAT
from nelbo.errors import CodecError

MAGIC, VERSION_MARK = 0x9D, 0x60
FINGERPRINT = 3  # bytes in a file of one tile; 8 in others
LONG_FINGERPRINT = 8
LOSSLESS, SIZED, RAW, PREFIX = 1, 2, 4, 8  # flags beside the effort
LARGEST_IMAGE = 1 << 28  # bytes of pixels
SMALL_IMAGE, PIXELS_A_BYTE = 1 << 18, 1 << 12  # a larger image must have a byte for so many pixels
STORED, DEFLATED, LZMA = range(3)


def varint(value: int) -> bytes:
    """7 bits a byte, the lowest first; the top bit says that more follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class CutShort(CodecError):
    """More bytes could mend it."""


class _Reader:
    """A header, byte by byte."""

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, num: int) -> bytes:
        if self.place + num > len(self.data):
            raise CutShort(f"the file ends after {len(self.data)} bytes, within its header; it was cut short.")
        self.place += num
        return self.data[self.place - num : self.place]

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise CodecError("a number in the header is too long; the file is damaged.")


@dataclass(frozen=True)
class Bitstream:
    """One image as a file.

    Attributes:
        fingerprint: of the model, or its first bytes.
        effort: how it was made; the receiver needs it.
        size: (height, width) where the image is not of the model's own size, else None.
        pixel_hash: of the pixels of a lossless file, else None.
        message: of the range coder, perhaps cut short.
        length: of the whole message.
        prefix: whether the message is the beginning of a longer one that was cut on purpose.
        check: CRC-32 of everything else, the whole message with it, as the file says; None where nothing said it yet.
    """

    fingerprint: bytes
    effort: int
    size: tuple[int, int] | None
    pixel_hash: bytes | None
    message: bytes
    length: int
    prefix: bool = False
    check: int | None = None

    @property
    def truncated(self) -> bool:
        """Whether some of the message is missing."""
        return len(self.message) < self.length

    def to_bytes(self) -> bytes:
        """The file."""
        head = self._head()
        check = self.check if self.truncated and self.check is not None else self._crc(head)
        return head + check.to_bytes(4, "big") + (self.pixel_hash or b"") + self.message

    @property
    def overhead(self) -> int:
        """Bytes of the file that are not of the message."""
        return len(self.to_bytes()) - len(self.message)

    def _head(self) -> bytes:
        flags = (LOSSLESS if self.pixel_hash else 0) | (SIZED if self.size else 0) | (PREFIX if self.prefix else 0)
        head = bytes([MAGIC, VERSION_MARK | FORMAT, self.effort << 4 | flags])
        head += self.fingerprint[: LONG_FINGERPRINT if self.size else FINGERPRINT]
        if self.size:
            head += varint(self.size[0]) + varint(self.size[1])
        return head + varint(self.length)

    def _crc(self, head: bytes) -> int:
        return zlib.crc32(head + (self.pixel_hash or b"") + self.message)

    def verify(self) -> None:
        """Check a whole file against its own sum, before anything is made of it.

        Raises:
            CodecError: they differ.
        """
        if not self.truncated and self.check is not None and self._crc(self._head()) != self.check:
            raise CodecError("the file is damaged: its checksum does not fit; restore it from a copy.")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Bitstream | RawImage":
        """Read a file, or the beginning of one.

        Raises:
            CodecError: no such file, one of a later version, or a header that is damaged or cut short.
        """
        reader = _Reader(data)
        magic, version, mode = reader.take(3)
        if magic != MAGIC or version & 0xF0 != VERSION_MARK:
            raise CodecError("this is no .nelbo file: it does not begin as one.")
        if version & 0x0F != FORMAT:
            raise CodecError(
                f"the file is of version {version & 0x0F} of the format, and this nelbo reads version {FORMAT}; "
                "a later nelbo may read it."
            )
        if mode & RAW:
            return RawImage.read(reader)
        effort, flags = mode >> 4, mode & 0x0F
        if not 1 <= effort <= 9 or (flags & LOSSLESS and flags & PREFIX):
            raise CodecError("the header makes no sense; the file is damaged.")
        fingerprint = reader.take(LONG_FINGERPRINT if flags & SIZED else FINGERPRINT)
        size = (reader.varint(), reader.varint()) if flags & SIZED else None
        if size is not None and not (min(size) >= 1 and size[0] * size[1] <= LARGEST_IMAGE):
            raise CodecError(f"the header tells of an image of {size[0]} x {size[1]} pixels; the file is damaged.")
        length = reader.varint()
        check = int.from_bytes(reader.take(4), "big")
        pixel_hash = reader.take(4) if flags & LOSSLESS else None
        message = data[reader.place :]
        if len(data) < fewest_bytes(size):
            raise CutShort(f"{len(data)} bytes are too few to begin an image of {size} pixels with.")
        if len(message) > length:
            raise CodecError(f"the file has {len(message) - length} bytes too many; it is damaged.")
        return cls(fingerprint, effort, size, pixel_hash, message, length, bool(flags & PREFIX), check)

    @classmethod
    def beginning(cls, data: bytes) -> "Bitstream | RawImage | None":
        """`from_bytes` of what has arrived so far; None while the header, or a raw image, is not whole yet."""
        try:
            return cls.from_bytes(data)
        except CutShort:
            return None

    def first(self, num_bytes: int) -> "Bitstream":
        """What a file cut to so many bytes would hold; the header is always whole."""
        check = self._crc(self._head()) if self.check is None else self.check
        return replace(self, message=self.message[: max(num_bytes - self.overhead, 0)], check=check)

    def cut(self, num_bytes: int) -> "Bitstream":
        """A lossy file of at most so many bytes, whole in itself: a prefix of this one's message. All of it if it fits.

        Raises:
            CodecError: fewer bytes than its header takes, or than an image so large may have; or a file that was lossy
                from the start, whose message has another end.
        """
        if len(self.to_bytes()) <= num_bytes:
            return self
        if self.pixel_hash is None and not self.prefix:
            raise CodecError("a file that was made lossy has no beginnings to cut; make a lossless one and cut that.")
        lossy = replace(self, pixel_hash=None, prefix=True, check=None, length=min(num_bytes, self.length))
        room = num_bytes - lossy.overhead
        if room < 0:
            raise CodecError(f"--max-bytes {num_bytes} is less than the {lossy.overhead} bytes of the header.")
        message = self.message[:room]
        cut = replace(lossy, message=message, length=len(message))
        if len(cut.to_bytes()) < fewest_bytes(self.size):
            raise CodecError(
                f"{num_bytes} bytes are too few for an image of {self.size} pixels: it takes a byte for every "
                f"{PIXELS_A_BYTE:,}."
            )
        return cut


def fewest_bytes(size: tuple[int, int] | None) -> int:
    """Of a file of an image of a size (None for the model's): with fewer, a reader makes no room for it."""
    pixels = 0 if size is None else size[0] * size[1]
    return 0 if pixels <= SMALL_IMAGE else -(-pixels // PIXELS_A_BYTE)


def hash_of(pixels: Tensor) -> bytes:
    """4 bytes of SHA-256 over the shape and the pixels (C, H, W) uint8."""
    content = str(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes()
    return hashlib.sha256(content).digest()[:4]


@dataclass(frozen=True)
class RawImage:
    """The way out: pixels as they are, or as a general compressor shortens them. No model is needed to read it."""

    pixels: Tensor

    def to_bytes(self) -> bytes:
        """The file: at most 18 bytes more than the pixels."""
        content = self.pixels.contiguous().numpy().tobytes()
        packed = {
            STORED: content,
            DEFLATED: zlib.compress(content, 9),
            LZMA: lzma.compress(content, lzma.FORMAT_RAW, filters=_FILTERS),
        }
        kind = min(packed, key=lambda k: len(packed[k]))
        head = bytes([MAGIC, VERSION_MARK | FORMAT, RAW | kind << 4])
        head += b"".join(varint(side) for side in self.pixels.shape)
        return head + zlib.crc32(head + packed[kind]).to_bytes(4, "big") + packed[kind]

    @classmethod
    def read(cls, reader: _Reader) -> "RawImage":
        """The rest of such a file."""
        kind = reader.data[2] >> 4
        shape = tuple(reader.varint() for _ in range(3))
        num = int(np.prod(shape, dtype=object))
        if kind not in (STORED, DEFLATED, LZMA) or not min(shape) >= 1 or num > LARGEST_IMAGE:
            raise CodecError("the header makes no sense; the file is damaged.")
        head = reader.data[: reader.place]
        check = int.from_bytes(reader.take(4), "big")
        packed = reader.data[reader.place :]
        if zlib.crc32(head + packed) != check:
            raise CutShort("the file is cut short or damaged: its checksum does not fit; restore it from a copy.")
        content = _unpacked(kind, packed, num)
        return cls(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()).view(shape))


_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9}]


def _unpacked(kind: int, packed: bytes, num: int) -> bytes:
    """Exactly so many bytes, and no more memory than they take."""
    try:
        if kind == DEFLATED:
            packed = zlib.decompressobj().decompress(packed, num + 1)
        elif kind == LZMA:
            packed = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(packed, num + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise CodecError(f"the file is damaged ({error}); restore it from a copy.") from error
    if len(packed) != num:
        raise CodecError(f"the file holds {len(packed)} bytes of pixels where {num} belong; it is damaged.")
    return packed
