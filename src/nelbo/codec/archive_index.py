"""The images of a block by name and size, and their index, which needs few bytes."""

import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from nelbo.codec.raw_image import LARGEST_IMAGE
from nelbo.errors import CodecError, shown

MOST_INDEX = 1 << 22  # bytes of an index, packed and unpacked
MOST_TIME = 1 << 40  # seconds
REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\\\\]")  # in names

NOT_IN_LABELS = re.compile(r"[/\\:]")


@dataclass(frozen=True)
class Member:
    """An image of an archive.

    Attributes:
        name: its path, relative to the folder that was packed, with / between the parts.
        height, width: of the image.
        label: its class by name, or None.
        time: when it was last changed, in seconds since 1970; None if that is unknown.
    """

    name: str
    height: int
    width: int
    label: str | None = None
    time: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def path(self) -> str:
        """Its name, in a folder of its class if that is known."""
        return self.name if self.label is None else f"{NOT_IN_LABELS.sub('-', self.label)}/{self.name}"


FIELDS = tuple(field.name for field in fields(Member))


def numbered(number: int) -> str:
    """Return the name of an image that has only a number."""
    return f"{number:05d}"


def check_path(path: str) -> str:
    """Return the path of an image in an archive, if it is relative and stays below the folder it is unpacked into.

    Raises:
        CodecError: it isn't.
    """
    if problem := problem_of(path):
        raise CodecError(f"an archive cannot have an image with the name {shown(path)}: {problem}; rename the image.")
    return path


def problem_of(path: str) -> str:
    """Return why an archive cannot have an image with this path, or ""."""
    if REFUSED.search(path):
        return "it has control characters, backslashes or bytes that are not UTF-8"
    drive = re.match("[A-Za-z]:", path)
    outside = drive or any(part.strip(" .") == "" for part in path.split("/"))
    return "it is no relative path, or has an empty part" if outside else ""


def packed(first: int, members: Sequence[Member]) -> bytes:
    """Return the index: each field as one list, or as one value for all; null for a name that is a number."""
    rows = [asdict(member) for member in members]
    for number, row in enumerate(rows, first):
        row["name"] = None if row["name"] == numbered(number) else row["name"]
    columns = {name: [row[name] for row in rows] for name in FIELDS}
    short = {name: values[0] if len(set(values)) == 1 else values for name, values in columns.items()}
    text = json.dumps({"first": first, **short}, separators=(",", ":"), ensure_ascii=False)
    return zlib.compress(text.encode(), 9)


def unpacked(index: bytes, num: int) -> list[Member]:
    """Read an index of `num` images.

    Raises:
        CodecError: it is damaged.
    """
    try:
        unpacking = zlib.decompressobj()
        found = json.loads(unpacking.decompress(index, MOST_INDEX))
        if not unpacking.eof or type(found["first"]) is not int or not 0 <= found["first"] < 1 << 35:
            raise CodecError("the index of a block is damaged.")
        first, columns = found["first"], [found[name] for name in FIELDS]
        lists = [column if isinstance(column, list) else [column] * num for column in columns]
        rows = zip(range(first, first + num), *lists, strict=True)
        members = [Member(numbered(number) if name is None else name, *rest) for number, name, *rest in rows]
    except (zlib.error, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CodecError(f"the index of a block is damaged ({error}).") from error
    if not all(map(_is_sound, members)):
        raise CodecError("the index of a block is damaged.")
    return members


def _is_sound(member: Member) -> bool:
    """Return whether the fields of a member have the right types and an image of an allowed size."""
    whole = all(type(value) is int for value in (member.height, member.width))
    times = member.time is None or (type(member.time) is int and abs(member.time) < MOST_TIME)
    texts = isinstance(member.name, str) and isinstance(member.label, str | None)
    return (
        whole
        and times
        and texts
        and min(member.size) >= 1
        and max(member.size) <= LARGEST_IMAGE
        and member.height * member.width <= LARGEST_IMAGE
    )
