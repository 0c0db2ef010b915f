"""The file: a header, a checksum, and a message from coarse to fine. docs/format.md specifies it."""

import hashlib
import lzma
import zlib
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nelbo.codec.header import RESTORE, CutShort, HeaderReader, varint
from nelbo.codec.version import FORMAT
from nelbo.errors import CodecError, ShapeError, option

MAGIC, VERSION_MARK = 0x9D, 0x60
FINGERPRINT, LONG_FINGERPRINT = 3, 8  # bytes; the long one is in files that state a size
LOSSLESS, SIZED, RAW, PREFIX = 1, 2, 4, 8  # flags in the byte of the effort
LARGEST_IMAGE = 1 << 28  # bytes of pixels
SMALL_IMAGE, PIXELS_A_BYTE = 1 << 18, 1 << 12  # pixels; a larger image needs a byte in its file for each 4,096
STORED, DEFLATED, LZMA = range(3)


@dataclass(frozen=True)
class Bitstream:
    """One image as a file.

    Attributes:
        fingerprint: the model's, or its first bytes.
        effort: 1..9, which sender and receiver must share.
        size: (height, width) if the image is not of the model's size, else None.
        pixel_hash: of the pixels of a lossless file, else None.
        message: the range coder's output, or its first bytes.
        length: of the whole message, bytes.
        prefix: whether the message is the beginning of a longer one that was cut on purpose.
        check: CRC-32 of everything else, with the whole message, as read from a file; None for a new file.
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

    @property
    def complete(self) -> bool:
        """Whether the message ends where the sender ended it, so that zeros may follow; a prefix is cut."""
        return not self.truncated and not self.prefix

    def to_bytes(self) -> bytes:
        """Return the file's bytes."""
        head = self._head()
        check = self.check if self.truncated and self.check is not None else self._crc(head)
        return head + check.to_bytes(4, "big") + (self.pixel_hash or b"") + self.message

    @property
    def overhead(self) -> int:
        """Number of bytes of the file outside the message."""
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
        """Check a whole file against its checksum. A truncated file cannot be checked.

        Raises:
            CodecError: they differ.
        """
        if not self.truncated and self.check is not None and self._crc(self._head()) != self.check:
            raise CodecError(f"the file is damaged: its checksum does not match; {RESTORE}")

    @classmethod
    def from_bytes(cls, data: bytes) -> "Bitstream | RawImage":
        """Read a file, or the beginning of one.

        Raises:
            CodecError: not a .nelbo file, a later version of the format, or a damaged or truncated header.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise CodecError(
                f"got {type(data).__name__}; expected the bytes of a .nelbo file: Path(name).read_bytes()."
            )
        reader = HeaderReader(data)
        magic, version, mode = reader.take(3)
        if magic != MAGIC or version & 0xF0 != VERSION_MARK:
            raise CodecError(
                "this is not a .nelbo file: it does not start with the bytes 9D 6x; choose a file written by "
                "`nelbo compress`."
            )
        if version & 0x0F != FORMAT:
            raise CodecError(
                f"the file has version {version & 0x0F} of the format, and this nelbo reads version {FORMAT}; "
                "upgrade nelbo to read it."
            )
        if mode & 0x0F == RAW:
            return RawImage.read(reader)
        effort, flags = mode >> 4, mode & 0x0F
        if not 1 <= effort <= 9 or flags & RAW or (flags & LOSSLESS and flags & PREFIX):
            raise CodecError(f"the file is damaged: its header is invalid; {RESTORE}")
        fingerprint = reader.take(LONG_FINGERPRINT if flags & SIZED else FINGERPRINT)
        size = (reader.varint(), reader.varint()) if flags & SIZED else None
        if size is not None and not (min(size) >= 1 and size[0] * size[1] <= LARGEST_IMAGE):
            raise CodecError(
                f"the file is damaged: its header states an image of {size[0]} x {size[1]} pixels; {RESTORE}"
            )
        length = reader.varint()
        check = int.from_bytes(reader.take(4), "big")
        pixel_hash = reader.take(4) if flags & LOSSLESS else None
        message = data[reader.place :]
        if len(data) < fewest_bytes(size):
            raise CutShort(
                f"the file is cut short: {len(data)} bytes are too few for an image of {size} pixels; {RESTORE}"
            )
        if len(message) > length:
            raise CodecError(f"the file is damaged: it has {len(message) - length} bytes too many; {RESTORE}")
        return cls(fingerprint, effort, size, pixel_hash, message, length, bool(flags & PREFIX), check)

    @classmethod
    def beginning(cls, data: bytes) -> "Bitstream | RawImage | None":
        """Read the bytes that have arrived so far; None while the header, or a raw image, is incomplete."""
        try:
            return cls.from_bytes(data)
        except CutShort:
            return None

    def first(self, num_bytes: int) -> "Bitstream":
        """Return the file as if it were cut to `num_bytes`, but with the whole header."""
        check = self._crc(self._head()) if self.check is None else self.check
        return replace(self, message=self.message[: max(num_bytes - self.overhead, 0)], check=check)

    def cut(self, max_bytes: int) -> "Bitstream":
        """Return a complete lossy file of at most `max_bytes` whose message is a prefix of this one's; self if it fits.

        Raises:
            CodecError: `max_bytes` is less than the header needs, or than an image of this size must have; or the file
                was encoded as lossy, and its message ends differently.
        """
        if len(self.to_bytes()) <= max_bytes:
            return self
        if self.pixel_hash is None and not self.prefix:
            raise CodecError("a file that was encoded as lossy cannot be cut; encode a lossless file and cut that.")
        lossy = replace(self, pixel_hash=None, prefix=True, check=None, length=min(max_bytes, self.length))
        room = max_bytes - lossy.overhead
        if room < 0:
            raise CodecError(
                f"{option('max_bytes', max_bytes)} is less than the {lossy.overhead} bytes of the header; allow more "
                "bytes."
            )
        message = self.message[:room]
        cut = replace(lossy, message=message, length=len(message))
        num_bytes = len(cut.to_bytes())
        if num_bytes < fewest_bytes(self.size):
            raise CodecError(
                f"{option('max_bytes', max_bytes)} cuts the file to {num_bytes:,} bytes, but an image of {self.size} "
                f"pixels needs at least {fewest_bytes(self.size):,}; allow more bytes."
            )
        return cut


def fewest_bytes(size: tuple[int, int] | None) -> int:
    """Return the fewest bytes that a file of an image of a size (None: the model's) may have.

    A reader refuses fewer before it allocates memory for the image.
    """
    pixels = 0 if size is None else size[0] * size[1]
    return 0 if pixels <= SMALL_IMAGE else -(-pixels // PIXELS_A_BYTE)


def pixels_on_cpu(image: Tensor) -> Tensor:
    """Return an image (C, H, W) uint8 on the CPU.

    Raises:
        ShapeError: it is empty, has other dimensions, or is not uint8: a file holds whole levels.
    """
    if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or image.numel() == 0:
        given = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        raise ShapeError(f"an image to compress must be a uint8 tensor (C, H, W) that is not empty, got {given}.")
    return image.cpu()


def hash_of(pixels: Tensor) -> bytes:
    """Return 4 bytes of SHA-256 over the shape and the pixels (C, H, W) uint8."""
    content = str(tuple(pixels.shape)).encode() + pixels.contiguous().numpy().tobytes()
    return hashlib.sha256(content).digest()[:4]


@dataclass(frozen=True)
class RawImage:
    """An image stored without the model: its pixels (C, H, W) uint8, plain or compressed by zlib or LZMA."""

    pixels: Tensor

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", pixels_on_cpu(self.pixels))

    def to_bytes(self) -> bytes:
        """Return the file's bytes, at most 14 more than the pixels."""
        content = self.pixels.contiguous().numpy().tobytes()
        packed = {
            STORED: content,
            DEFLATED: zlib.compress(content, 9),
            LZMA: lzma.compress(content, lzma.FORMAT_RAW, filters=_filters(len(content))),
        }
        kind = min(packed, key=lambda k: len(packed[k]))
        head = bytes([MAGIC, VERSION_MARK | FORMAT, RAW | kind << 4])
        head += b"".join(varint(side) for side in self.pixels.shape)
        return head + zlib.crc32(head + packed[kind]).to_bytes(4, "big") + packed[kind]

    @classmethod
    def read(cls, reader: HeaderReader) -> "RawImage":
        """Read the rest of a file after its first three bytes."""
        kind = reader.data[2] >> 4
        shape = tuple(reader.varint() for _ in range(3))
        num = int(np.prod(shape, dtype=object))
        if kind not in (STORED, DEFLATED, LZMA) or not min(shape) >= 1 or num > LARGEST_IMAGE:
            raise CodecError(f"the file is damaged: its header is invalid; {RESTORE}")
        head = reader.data[: reader.place]
        check = int.from_bytes(reader.take(4), "big")
        packed = reader.data[reader.place :]
        if zlib.crc32(head + packed) != check:
            raise CutShort(f"the file is cut short or damaged: its checksum does not match; {RESTORE}")
        content = _unpacked(kind, packed, num)
        return cls(torch.from_numpy(np.frombuffer(content, dtype=np.uint8).copy()).view(shape))


_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9}]


def _filters(num_bytes: int) -> list[dict[str, int]]:
    """Return the filters for writing: a dictionary of the content's size gives the same bytes, much faster."""
    size = min(max(1 << (num_bytes - 1).bit_length(), 1 << 12), 1 << 26)
    return [{**_FILTERS[0], "dict_size": size}]


def shape_of_raw(data: bytes) -> tuple[int, ...] | None:
    """Return the shape that a raw file states, without unpacking it; None if it is no raw file.

    Raises:
        CodecError: its header is damaged.
    """
    reader = HeaderReader(data)
    magic, version, mode = reader.take(3)
    if (magic, version, mode & 0x0F) != (MAGIC, VERSION_MARK | FORMAT, RAW):
        return None
    return tuple(reader.varint() for _ in range(3))


def _unpacked(kind: int, packed: bytes, num: int) -> bytes:
    """Unpack to exactly `num` bytes, without unpacking more than one byte beyond them."""
    try:
        if kind == DEFLATED:
            unpacking = zlib.decompressobj()
            packed = unpacking.decompress(packed, num + 1)
            if len(packed) == num and (not unpacking.eof or unpacking.unused_data):
                raise CodecError(f"the file is damaged: its pixels do not end with the file; {RESTORE}")
        elif kind == LZMA:
            packed = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(packed, num + 1)
    except (zlib.error, lzma.LZMAError) as error:
        raise CodecError(f"the file is damaged ({error}); {RESTORE}") from error
    if len(packed) != num:
        raise CodecError(f"the file is damaged: it unpacks to {len(packed)} bytes of pixels, expected {num}; {RESTORE}")
    return packed
