"""Shards that can be read from their beginning only, such as those behind a URL; the one home of webdataset.

webdataset opens them (with curl, or gsutil for Google Cloud) and groups the members of a tar file by their keys. A URL
that starts a command of one's own (`pipe:`) is refused: a run folder stores the URL, and may come from others.
"""

import re
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from nelbo.data.names import IMAGE_ENDINGS
from nelbo.data.shards import class_in
from nelbo.data.stored import Unreadable
from nelbo.data.stream_dataset import Example
from nelbo.errors import ConfigurationError, DataError, NelboError

CLASS = "cls"
CHUNK = 1 << 20  # bytes read at once after the end of an archive
TRANSFER = re.compile(r"\[['\"](?P<program>\w+)['\"].*exit (?P<status>\d+)")  # webdataset's words for a failed one
HIDDEN = re.compile(r"__[^/]*__($|/)")  # what webdataset passes over


@dataclass
class ShardStream:
    """The images of shards, in their order, one shard after the other.

    Attributes:
        name: of the set.
        urls: of the shards: paths, or http, https or gs URLs.
        num: number of images, or None if unknown.
    """

    name: str
    urls: tuple[str, ...]
    num: int | None = None
    _counts: dict[str, int] = field(default_factory=dict, repr=False)  # images of the shards that were read to the end

    def read(self, start: int) -> Iterator[Example]:
        """Yield the images from number `start` on; see `ExampleStream`."""
        place = 0
        for url in self.urls:
            known = self._counts.get(url)
            if known is not None and place + known <= start:
                place += known
                continue
            first = place
            for example in _examples(url):
                if place >= start:
                    yield example
                place += 1
            self._counts[url] = place - first


def _examples(url: str) -> Iterator[Example]:
    """Yield the images of a shard.

    Raises:
        DataError: it cannot be opened, or is damaged.
    """
    try:
        for sample in _samples(url):
            if (image := _image_of(sample)) is not None:
                yield Example(f"{url}:{sample['__key__']}.{image}", sample[image], _class_of(sample))
    except NelboError:
        raise
    except Exception as error:  # webdataset raises what tarfile, curl and its own checks do
        raise DataError(
            f"{url} cannot be read: {_cause(error)}; check the address, or copy a damaged shard again."
        ) from error


def _samples(url: str) -> Iterator[dict[str, Any]]:
    """Yield the members of a shard, those of one key together, by the rest of their names."""
    try:
        from webdataset.gopen import gopen
        from webdataset.tariterators import group_by_keys
    except ImportError as error:
        raise ConfigurationError(
            f"{url} is read as a stream, which needs webdataset: pip install 'nelbo[webdataset]'."
        ) from error
    with closing(gopen(url)) as file:
        yield from group_by_keys(_members(file, url))


def _members(file: Any, url: str) -> Iterator[dict[str, Any]]:
    """Yield the files in a shard as webdataset does, which passes over damaged headers and a second archive.

    Raises:
        tarfile.ReadError: the shard is damaged, or holds several archives.
    """
    with tarfile.open(fileobj=file, mode="r|*", tarinfo=_CheckedMember) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined] # it would keep the headers of the whole shard
            content = archive.extractfile(info) if info.isfile() and not HIDDEN.match(info.name) else None
            if content is not None:
                yield {"fname": info.name, "data": content.read(), "__url__": url}
        while archive.fileobj is not None and (block := archive.fileobj.read(CHUNK)):
            if any(block):
                raise tarfile.ReadError("it holds several archives, and a stream reads one per file")


class _CheckedMember(tarfile.TarInfo):
    """A member with a whole header. `tarfile` takes a damaged header, unless it is the first, for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "_CheckedMember":
        try:
            return super().fromtarfile(archive)
        except tarfile.HeaderError as error:
            if archive.offset == 0 or isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise
            raise tarfile.ReadError(f"{error}, where a tar member should begin at byte {archive.offset}") from error


def _image_of(sample: dict[str, Any]) -> str | None:
    """Return the name of the image of a sample without its key: one with one extension goes before those with more."""
    images = [name for name in sample if f".{name}".lower().endswith(IMAGE_ENDINGS)]
    return min(images, key=lambda name: name.count("."), default=None)


def _class_of(sample: dict[str, Any]) -> str | None:
    try:
        return class_in(sample[CLASS]) or None if CLASS in sample else None
    except Unreadable:
        return None


def _cause(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    words = str(error.args[0] if error.args else error).strip().partition("\n")[0]
    if ended := TRANSFER.search(words):
        return f"the transfer ended with status {ended['status']} of {ended['program']}"
    return words or type(error).__name__
