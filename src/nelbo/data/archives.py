"""Tar files: the members of each archive in a file, and the place of damage that `tarfile` passes over."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK = 2**20  # bytes read at once after the end of an archive
START_BYTES = 257  # of a member: one more than the class in a `.cls` file may have
PAX_TYPES = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


@dataclass(frozen=True)
class Member:
    """A member of a tar file, and its first bytes if it is a `.cls` file or its name has no ending."""

    info: tarfile.TarInfo
    start: bytes = b""


class DamagedArchiveError(Exception):
    """An archive is damaged after its first header.

    Attributes:
        where: the byte of the file at which it is damaged.
        cause: what is wrong there.
        members: the whole members of the archive before that byte.
    """

    def __init__(self, where: int, cause: str, members: list[Member]) -> None:
        super().__init__(cause)
        self.where = where
        self.cause = cause
        self.members = members


class _DamagedHeaderError(tarfile.ReadError):
    """The extended header at byte `where` is damaged."""

    def __init__(self, where: int) -> None:
        super().__init__("the extended header there is not made of records LENGTH KEYWORD=VALUE")
        self.where = where


def archives(path: Path) -> Iterator[list[Member]]:
    """Yield the members, in their order, of each archive in a file: several if tar files were concatenated.

    Raises:
        DamagedArchiveError: the file is damaged after its first header, or does not end where an archive ends.
        tarfile.TarError: it does not begin like an uncompressed tar file.
    """
    with open(path, "rb") as file:
        start: int | None = 0
        while start is not None:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                members: list[Member] = []
                try:
                    _read_members(archive, file, start, members)
                except tarfile.TarError as error:
                    raise _damage(archive, path.stat().st_size, members, error) from error
                end = archive.offset
            yield members
            start = _next_archive(file, end)


def _read_members(archive: tarfile.TarFile, file: BinaryIO, start: int, members: list[Member]) -> None:
    """Add the members of the archive that begins at byte `start` to `members`."""
    for info in archive:
        _check_headers(file, start, info.offset_data)
        name = info.name.rpartition("/")[2]
        is_read = info.isfile() and ("." not in name or name.lower().endswith(".cls"))
        content = archive.extractfile(info) if is_read else None
        members.append(Member(info))
        if content is not None:
            members[-1] = Member(info, content.read(START_BYTES))
        start = archive.offset


def _check_headers(file: BinaryIO, start: int, end: int) -> None:
    """Check the extended headers of a member in the bytes from `start` to `end`.

    Older releases of Python ignore the records from a damaged one on, and so may change the name of the member.
    """
    while end - start > tarfile.BLOCKSIZE:  # there are other headers before that of the member itself
        file.seek(start)
        header = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "surrogateescape")
        if header.type in PAX_TYPES and not _are_records(file.read(header.size)):
            raise _DamagedHeaderError(start)
        start += tarfile.BLOCKSIZE * (1 - -header.size // tarfile.BLOCKSIZE)


def _are_records(body: bytes) -> bool:
    """Return whether the body of an extended header consists of whole records."""
    body, start = body.rstrip(b"\0"), 0
    while start < len(body):
        length, space, _ = body[start : start + 20].partition(b" ")
        size = int(length) if length.isdigit() and space else 0
        record = body[start : start + size]
        if len(record) < size or b"=" not in record or not record.endswith(b"\n"):
            return False
        start += size
    return True


def _damage(archive: tarfile.TarFile, size: int, members: list[Member], error: tarfile.TarError) -> DamagedArchiveError:
    """Return the error for an archive that is damaged after its first header: mostly, its file is cut off.

    Args:
        size: bytes of the file.
    """
    if isinstance(error, _DamagedHeaderError):
        return DamagedArchiveError(error.where, str(error), members)
    last = members[-1].info if members else None
    if last is not None and last.offset_data + last.size > size:
        return DamagedArchiveError(size, f"the file ends inside its member {last.name}", members[:-1])
    if archive.offset > size:
        return DamagedArchiveError(size, "the file ends before the next member", members)
    return DamagedArchiveError(archive.offset, str(error), members)


def _next_archive(file: BinaryIO, end: int) -> int | None:
    """Return where the next archive begins after one that ended at byte `end`, or None if there is none."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if not block:
        return None
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise DamagedArchiveError(end, "no tar member begins there", [])
    start = end + len(block)
    while block := file.read(CHUNK):
        if any(block):
            ahead = len(block) - len(block.lstrip(b"\0"))
            return start + ahead // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        start += len(block)
    return None
