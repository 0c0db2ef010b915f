"""Compressed files (.nelbo) as the commands read them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nelbo.errors import CodecError, DataError

if TYPE_CHECKING:
    from nelbo.codec import Bitstream, RawImage

    File = Bitstream | RawImage

AT_ONCE = 64  # images that pass through the network together


def read_file(path: Path, *, verify: bool = True) -> File:
    """Read a .nelbo file.

    Raises:
        DataError: the file does not exist or cannot be read.
        CodecError: it is not a .nelbo file, or it is damaged and `verify` is set.
    """
    from nelbo.codec import Bitstream
    from nelbo.files import refuse_pointer

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    try:
        file = Bitstream.from_bytes(content)
        if verify and isinstance(file, Bitstream):
            file.verify()
        return file
    except CodecError as error:
        refuse_pointer(path, DataError)
        raise CodecError(f"{path}: {error.marked}") from error
