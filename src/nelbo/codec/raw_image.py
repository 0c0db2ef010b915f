"""Images stored without a model, and the hash of pixels; docs/format.md specifies both."""

import hashlib
import lzma
import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nelbo.codec.header import RESTORE, CutShort, HeaderReader, varint
from nelbo.codec.version import FORMAT
from nelbo.errors import CodecError, ShapeError

MAGIC, VERSION_MARK = 0x9D, 0x60
RAW = 4  # flag in the byte after these
LARGEST_IMAGE = 1 << 28  # bytes of pixels
STORED, DEFLATED, LZMA = range(3)


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
