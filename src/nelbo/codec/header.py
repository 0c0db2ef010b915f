"""The numbers of a header, read byte by byte."""

from nelbo.errors import CodecError

RESTORE = "restore the file from a copy."


def varint(value: int) -> bytes:
    """Write a number as 7 bits a byte, the lowest first; the top bit means that more bytes follow."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


class CutShort(CodecError):
    """The file ends too early; with more bytes it may be readable."""


class HeaderReader:
    """Reads bytes and numbers from the beginning of some bytes.

    Attributes:
        data: the bytes.
        place: number of bytes that are read.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, num: int) -> bytes:
        """Read `num` bytes.

        Raises:
            CutShort: there are fewer.
        """
        if self.place + num > len(self.data):
            raise CutShort(f"the file is cut short: it ends after {len(self.data)} bytes, within its header; {RESTORE}")
        self.place += num
        return self.data[self.place - num : self.place]

    def varint(self) -> int:
        """Read a number, at most 35 bits.

        Raises:
            CutShort: the bytes end within it.
            CodecError: it is longer.
        """
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise CodecError(f"the file is damaged: a number in its header is too long; {RESTORE}")

    def rest(self) -> bytes:
        """Read all other bytes."""
        return self.take(len(self.data) - self.place)
