"""The file: a header, a checksum, and a message from coarse to fine. docs/format.md specifies it."""

import zlib
from dataclasses import dataclass, replace

from nelbo.codec.header import RESTORE, CutShort, HeaderReader, varint
from nelbo.codec.raw_image import LARGEST_IMAGE, MAGIC, RAW, VERSION_MARK, RawImage
from nelbo.codec.version import FORMAT, INTEGER_FORMAT
from nelbo.errors import CodecError, option

FINGERPRINT, LONG_FINGERPRINT = 3, 8  # bytes; the long one is in files that state a size
LOSSLESS, SIZED, PREFIX = 1, 2, 8  # flags in the byte of the effort
INTEGER_MARK = 0x80  # of version 2: its second byte has this bit, the effort, and the flags, with a prefix as 4
SMALL_IMAGE, PIXELS_A_BYTE = 1 << 18, 1 << 12  # pixels; a larger image needs a byte in its file for each 4,096


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
        check: CRC-32 of everything else, with the whole message, as read from a file; None for a new file, and for a
            lossless one of version 2, which stores its hash with the CRC-32 added bit by bit.
        version: of the format.
    """

    fingerprint: bytes
    effort: int
    size: tuple[int, int] | None
    pixel_hash: bytes | None
    message: bytes
    length: int
    prefix: bool = False
    check: int | None = None
    version: int = FORMAT

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
        if self.version != FORMAT and self.pixel_hash is not None:
            return head + _mixed(self.pixel_hash, zlib.crc32(head + self.message)) + self.message
        check = self.check if self.truncated and self.check is not None else self._crc(head)
        return head + check.to_bytes(4, "big") + (self.pixel_hash or b"") + self.message

    @property
    def overhead(self) -> int:
        """Number of bytes of the file outside the message."""
        return len(self.to_bytes()) - len(self.message)

    def _head(self) -> bytes:
        flags = (LOSSLESS if self.pixel_hash else 0) | (SIZED if self.size else 0)
        if self.version == FORMAT:
            flags |= PREFIX if self.prefix else 0
            head = bytes([MAGIC, VERSION_MARK | FORMAT, self.effort << 4 | flags])
        else:
            flags |= PREFIX >> 1 if self.prefix else 0
            head = bytes([MAGIC, INTEGER_MARK | self.effort << 3 | flags])
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
        magic, mark = reader.take(2)
        if magic != MAGIC or not (mark & 0xF0 == VERSION_MARK or mark & INTEGER_MARK):
            raise CodecError(
                "this is not a .nelbo file: it does not start with the bytes 9D 6x, or 9D and a byte of at least 80; "
                "choose a file written by `nelbo compress`."
            )
        if mark & INTEGER_MARK:
            version, effort, flags = INTEGER_FORMAT, mark >> 3 & 0xF, mark & 3 | (mark & 4) << 1
        elif mark & 0x0F > INTEGER_FORMAT:
            raise CodecError(
                f"the file has version {mark & 0x0F} of the format, and this nelbo reads versions {FORMAT} and "
                f"{INTEGER_FORMAT}; upgrade nelbo to read it."
            )
        elif mark & 0x0F != FORMAT:
            raise CodecError(f"the file is damaged: its header is invalid; {RESTORE}")
        else:
            mode = reader.take(1)[0]
            if mode & 0x0F == RAW:
                return RawImage.read(reader)
            version, effort, flags = FORMAT, mode >> 4, mode & 0x0F
        if not 1 <= effort <= 9 or flags & RAW or (flags & LOSSLESS and flags & PREFIX):
            raise CodecError(f"the file is damaged: its header is invalid; {RESTORE}")
        fingerprint = reader.take(LONG_FINGERPRINT if flags & SIZED else FINGERPRINT)
        size = (reader.varint(), reader.varint()) if flags & SIZED else None
        if size is not None and not (min(size) >= 1 and size[0] * size[1] <= LARGEST_IMAGE):
            raise CodecError(
                f"the file is damaged: its header states an image of {size[0]} x {size[1]} pixels; {RESTORE}"
            )
        length = reader.varint()
        mixed = version != FORMAT and flags & LOSSLESS
        head = bytes(data[: reader.place])
        check = None if mixed else int.from_bytes(reader.take(4), "big")
        pixel_hash = reader.take(4) if flags & LOSSLESS else None
        message = data[reader.place :]
        if mixed and pixel_hash:
            pixel_hash = _mixed(pixel_hash, zlib.crc32(head + bytes(message)))
        if len(data) < fewest_bytes(size):
            raise CutShort(
                f"the file is cut short: {len(data)} bytes are too few for an image of {size} pixels; {RESTORE}"
            )
        if len(message) > length:
            raise CodecError(f"the file is damaged: it has {len(message) - length} bytes too many; {RESTORE}")
        return cls(fingerprint, effort, size, pixel_hash, message, length, bool(flags & PREFIX), check, version)

    @classmethod
    def beginning(cls, data: bytes) -> "Bitstream | RawImage | None":
        """Read the bytes that have arrived so far; None while the header, or a raw image, is incomplete."""
        try:
            return cls.from_bytes(data)
        except CutShort:
            return None

    def first(self, num_bytes: int) -> "Bitstream":
        """Return the file as if it were cut to `num_bytes`, but with the whole header."""
        head, message = self._head(), self.message[: max(num_bytes - self.overhead, 0)]
        if self.version != FORMAT and self.pixel_hash is not None:
            change = zlib.crc32(head + self.message) ^ zlib.crc32(head + message)
            return replace(self, message=message, pixel_hash=_mixed(self.pixel_hash, change))
        return replace(self, message=message, check=self._crc(head) if self.check is None else self.check)

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


def _mixed(pixel_hash: bytes, crc: int) -> bytes:
    """Return a hash and a CRC-32 added bit by bit; the same again gives the hash back."""
    return (int.from_bytes(pixel_hash, "big") ^ crc).to_bytes(4, "big")


def fewest_bytes(size: tuple[int, int] | None) -> int:
    """Return the fewest bytes that a file of an image of a size (None: the model's) may have.

    A reader refuses fewer before it allocates memory for the image.
    """
    pixels = 0 if size is None else size[0] * size[1]
    return 0 if pixels <= SMALL_IMAGE else -(-pixels // PIXELS_A_BYTE)
