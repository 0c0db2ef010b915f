"""WebDataset shards: tar files in which `KEY.jpg` is an image and `KEY.cls` its class.

The standard library's `tarfile` indexes them, and members are read in place by their offset. So shards need no extra
package, their order does not depend on the seed or the number of workers, and a run can resume at any step. The
streaming reader of the package webdataset supports shards behind a URL, but its shuffling depends on the workers; copy
such shards to disk first. Compressed shards have no random access and are refused.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from glob import escape, glob, has_magic
from pathlib import Path
from typing import BinaryIO

from nelbo.data.datasets import Reject
from nelbo.data.folders import Listing
from nelbo.data.names import IMAGE_ENDINGS, SHARD_ENDING, path_of
from nelbo.data.stored import StoredImage, printable
from nelbo.display import counted
from nelbo.errors import DataError
from nelbo.files import refuse_pointer

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
CHUNK = 2**20  # bytes read at once after the end of an archive


@dataclass(frozen=True)
class _Member:
    """A member of a tar file, and the class in it if it is a `.cls` file."""

    info: tarfile.TarInfo
    label: str | None


def expand(spec: str) -> list[Path]:
    """Expand the ranges in braces; leading zeros are kept, and several ranges give all combinations.

    >>> [str(path) for path in expand("shards/{08..10}.tar")]
    ['shards/08.tar', 'shards/09.tar', 'shards/10.tar']
    """
    match = RANGE.search(spec)
    if match is None:
        return [path_of(spec)]
    first, last = match.groups()
    if int(last) < int(first) or int(last) - int(first) >= 1_000_000:
        raise DataError(
            f"{spec}: the range {match.group()} must rise and span fewer than a million shards; write it like "
            "{000..009}."
        )
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [path for number in numbers for path in expand(spec[: match.start()] + number + spec[match.end() :])]


def find_shards(spec: str) -> list[Path]:
    """Find the tar files that `spec` names: a file, a range in braces, a pattern with `*`, or a folder; [] if none."""
    path = path_of(spec)
    if os.path.isdir(path):
        return sorted(shard for shard in path.glob(f"*{SHARD_ENDING}") if not shard.name.startswith("."))
    if not spec.endswith(SHARD_ENDING):
        return []
    if has_magic(spec):
        return sorted(map(Path, glob(os.path.join(escape(str(path.parent)), path.name))))
    return expand(spec)


def list_shards(shards: list[Path]) -> Listing:
    """List every image in the shards, in their order, with its class from a `.cls` member if there is one.

    Members that agree up to the first dot of their file names belong together, as in WebDataset. Among them, an image
    with one extension (`0.jpg`) goes before those with several (`0.seg.png`), which are then ignored. The class of
    `22.05.png` is in `22.05.cls`, or else in `22.cls`. Of two members with one name, the later one counts, as in tar.

    Raises:
        DataError: a shard is damaged or compressed.
    """
    name = shards[0].stem if len(shards) == 1 else Path(os.path.realpath(shards[0])).parent.name
    listing = Listing(printable(name), [], [])
    for shard in shards:
        try:
            for members in _archives(shard, listing):
                _list_archive(members, shard, listing)
        except (OSError, tarfile.TarError) as error:
            refuse_pointer(shard, DataError)
            raise DataError(
                f"{printable(shard)} is not an uncompressed tar file ({error}); decompress it, or copy a damaged one "
                "again."
            ) from error
    return listing


def _archives(shard: Path, listing: Listing) -> Iterator[dict[str, _Member]]:
    """Yield the members by name of each archive in a file: several if tar files were concatenated.

    Raises:
        DataError: the file is damaged, or does not end where an archive ends.
    """
    with open(shard, "rb") as file:
        start: int | None = 0
        while start is not None:
            file.seek(start)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                members: dict[str, _Member] = {}
                try:
                    _read_members(archive, members, shard, listing)
                except tarfile.TarError as error:
                    raise _cut(archive, members, shard, listing, error) from error
                end = archive.offset
            yield members
            start = _next_archive(file, end, shard, len(listing.images))


def _read_members(archive: tarfile.TarFile, members: dict[str, _Member], shard: Path, listing: Listing) -> None:
    """Add the members of an archive to `members` by name, in their order."""
    for member in archive:
        if member.name in members and member.isfile():
            listing.rejects.append(Reject(printable(f"{shard}:{member.name}"), "a later member has the same name"))
            del members[member.name]
        members[member.name] = _Member(member, None)
        members[member.name] = _Member(member, _class_of(archive, member))


def _cut(
    archive: tarfile.TarFile, members: dict[str, _Member], shard: Path, listing: Listing, error: tarfile.TarError
) -> DataError:
    """Return the error for an archive that is damaged after its first header: mostly, its file is cut off."""
    size, where, cause = shard.stat().st_size, archive.offset, str(error)
    last = next(reversed(members.values()), None)
    if last is not None and last.info.offset_data + last.info.size > size:
        del members[last.info.name]
        where, cause = size, f"the file ends inside its member {printable(last.info.name)}"
    elif where > size:
        where, cause = size, "the file ends before the next member"
    _list_archive(members, shard, listing)
    return _damaged(shard, where, len(listing.images), cause)


def _damaged(shard: Path, where: int, num_images: int, cause: str) -> DataError:
    after = counted(num_images, "image")
    return DataError(f"{printable(shard)} is damaged at byte {where}, after {after}: {cause}; copy it again.")


def _next_archive(file: BinaryIO, end: int, shard: Path, num_images: int) -> int | None:
    """Return where the next archive begins after one that ended at byte `end`, or None if there is none."""
    file.seek(end)
    block = file.read(tarfile.BLOCKSIZE)
    if not block:
        return None
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise _damaged(shard, end, num_images, "no tar member begins there")
    start = end + len(block)
    while block := file.read(CHUNK):
        if any(block):
            ahead = len(block) - len(block.lstrip(b"\0"))
            return start + ahead // tarfile.BLOCKSIZE * tarfile.BLOCKSIZE
        start += len(block)
    return None


def _class_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str | None:
    """Read the class from a `.cls` member; None for any other member."""
    if not member.isfile() or not member.name.lower().endswith(".cls"):
        return None
    content = archive.extractfile(member)
    return content.read(256).decode("utf-8-sig", "replace").strip() if content else ""


def _list_archive(members: dict[str, _Member], shard: Path, listing: Listing) -> None:
    """Add the members of one archive to the images with their classes, the rejects, and the ignored files."""
    classes = {_without_ending(name): member.label for name, member in members.items() if member.label is not None}
    images = [name for name, member in members.items() if _is_image(name, member.info)]
    plain = {_key(name) for name in images if _without_ending(name) == _key(name)}
    claimed = set[str]()
    for name, member in members.items():
        path, key, stem = printable(f"{shard}:{name}"), _key(name), _without_ending(name)
        if member.label is not None:
            continue
        if not member.info.isfile():
            listing.ignored.update([] if member.info.isdir() else ["no regular file"])
        elif name.rpartition("/")[2].startswith("."):
            listing.ignored["hidden"] += 1
        elif not _is_image(name, member.info):
            listing.ignored["." + name.rpartition(".")[2].lower()] += 1
        elif stem != key and key in plain:
            listing.ignored[name[len(key) :].lower()] += 1
        elif member.info.issparse():
            listing.rejects.append(Reject(path, "a sparse tar member"))
        else:
            source = stem if stem in classes else key
            claimed.add(source)
            stored = StoredImage(path, str(shard), member.info.offset_data, member.info.size)
            listing.add(stored, classes.get(source))
    if unclaimed := len(classes.keys() - claimed):
        listing.ignored[".cls without an image"] += unclaimed


def _is_image(name: str, info: tarfile.TarInfo) -> bool:
    file = name.rpartition("/")[2]
    return info.isfile() and not file.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)


def _key(name: str) -> str:
    """Return the name up to the first dot of the file name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _without_ending(name: str) -> str:
    """Return the name without its last extension."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.rpartition(".")[0]
