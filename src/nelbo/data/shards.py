"""WebDataset shards: tar files in which `KEY.jpg` is an image and `KEY.cls` its class.

The standard library's `tarfile` indexes them, and members are read in place by their offset. So shards need no extra
package, their order does not depend on the seed or the number of workers, and a run can resume at any step. The
streaming reader of the package webdataset supports shards behind a URL, but its shuffling depends on the workers; copy
such shards to disk first. Compressed shards have no random access and are refused.
"""

import re
import tarfile
from glob import has_magic
from pathlib import Path

from nelbo.data.datasets import Reject, printable
from nelbo.data.decoding import StoredImage
from nelbo.data.folders import Listing
from nelbo.data.names import IMAGE_ENDINGS, SHARD_ENDING
from nelbo.errors import DataError

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expand(spec: str) -> list[Path]:
    """Expand the ranges in braces; leading zeros are kept, and several ranges give all combinations.

    >>> [str(path) for path in expand("shards/{08..10}.tar")]
    ['shards/08.tar', 'shards/09.tar', 'shards/10.tar']
    """
    match = RANGE.search(spec)
    if match is None:
        return [Path(spec).expanduser()]
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
    path = Path(spec).expanduser()
    if path.is_dir():
        return sorted(shard for shard in path.glob(f"*{SHARD_ENDING}") if not shard.name.startswith("."))
    if not spec.endswith(SHARD_ENDING):
        return []
    if has_magic(spec):
        return sorted(path.parent.glob(path.name))
    return expand(spec)


def list_shards(shards: list[Path]) -> Listing:
    """List every image in the shards, in their order, with its class from `KEY.cls` if there is one.

    Raises:
        DataError: a shard is damaged or compressed.
    """
    listing = Listing(shards[0].stem if len(shards) == 1 else shards[0].resolve().parent.name, [], [])
    keys: list[str] = []
    classes: dict[str, str] = {}
    for shard in shards:
        try:
            with tarfile.open(shard, "r:") as archive:
                for member in archive:
                    _sort_in(archive, member, shard, listing, keys, classes)
        except (OSError, tarfile.TarError) as error:
            raise DataError(
                f"{printable(shard)} is not an uncompressed tar file ({error}); decompress it, or copy a damaged one "
                "again."
            ) from error
    listing.classes.extend(classes.get(key) for key in keys)
    return listing


def _sort_in(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    shard: Path,
    listing: Listing,
    keys: list[str],
    classes: dict[str, str],
) -> None:
    """Add one member to the images, the classes, the rejects, or the ignored files."""
    folder, _, file = member.name.rpartition("/")
    stem, _, extension = file.partition(".")
    path, key = printable(f"{shard}:{member.name}"), f"{shard}:{folder}/{stem}"
    ending = "." + extension.rpartition(".")[2].lower()
    if not member.isfile():
        listing.ignored.update([] if member.isdir() else ["no regular file"])
    elif not stem:
        listing.ignored["hidden"] += 1
    elif ending in IMAGE_ENDINGS and member.issparse():
        listing.rejects.append(Reject(path, "a sparse tar member"))
    elif ending in IMAGE_ENDINGS:
        listing.images.append(StoredImage(path, str(shard), member.offset_data, member.size))
        keys.append(key)
    elif extension == "cls":
        content = archive.extractfile(member)
        classes[key] = content.read(256).decode("utf-8", "replace").strip() if content else ""
    else:
        listing.ignored[ending] += 1
