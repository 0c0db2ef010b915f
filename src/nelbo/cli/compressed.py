"""Compressed files (.nelbo) as the commands read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nelbo.errors import CodecError, DataError

if TYPE_CHECKING:
    from nelbo.codec import Bitstream, RawImage

    File = Bitstream | RawImage

AT_ONCE = 64  # images that pass through the network together, at most
MOST_VALUES = 1 << 20  # values of their pixels, at most
MOST_NAMED = 3  # files that an error names
Item = TypeVar("Item")


def batches(items: Iterable[Item], num_values: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Group images that pass through the network together: an image of more than `MOST_VALUES` values is alone.

    Args:
        items: read one by one, at most one ahead.
        num_values: returns the number of values of the pixels of an image.
    """
    group: list[Item] = []
    total = 0
    for item in items:
        more = num_values(item)
        if group and total + more > MOST_VALUES:
            yield group
            group, total = [], 0
        group.append(item)
        total += more
        if len(group) == AT_ONCE:
            yield group
            group, total = [], 0
    if group:
        yield group


def some(paths: Sequence[Path]) -> str:
    """List the first few paths for an error message."""
    return ", ".join([*map(str, paths[:MOST_NAMED]), *(["..."] if len(paths) > MOST_NAMED else [])])


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
