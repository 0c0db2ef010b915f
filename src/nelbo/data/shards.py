"""WebDataset shards: tar files in which `KEY.jpg` is an image and `KEY.cls` its class.

They are indexed by the standard library's `tarfile` and their members read where they lie, so shards need no extra
package, keep their order under any seed and number of workers, and can be resumed at any step. The streaming reader of
the package webdataset gives up exactly that (its shuffle depends on the workers) for the sake of shards behind a URL;
copy those here first. Compressed shards cannot be read at random and are refused.
"""

import re
import tarfile
from glob import has_magic
from pathlib import Path

from nelbo.data.datasets import Reject, printable
from nelbo.data.decoding import ENDINGS, StoredImage
from nelbo.data.folders import Listing
from nelbo.errors import DataError

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")


def expand(spec: str) -> list[Path]:
    """`shards/{000..009}.tar` -> the ten paths, with the zeros kept. Several ranges multiply."""
    match = RANGE.search(spec)
    if match is None:
        return [Path(spec).expanduser()]
    first, last = match.groups()
    if int(last) < int(first) or int(last) - int(first) >= 1_000_000:
        raise DataError(f"{spec}: the range {match.group()} must rise, by fewer than a million; write {{000..009}}")
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [path for number in numbers for path in expand(spec[: match.start()] + number + spec[match.end() :])]


def find_shards(spec: str) -> list[Path]:
    """The tar files that `spec` names: one file, a range in braces, a pattern with `*`, or a folder's. [] if none."""
    path = Path(spec).expanduser()
    if path.is_dir():
        return sorted(shard for shard in path.glob("*.tar") if not shard.name.startswith("."))
    if not spec.endswith(".tar"):
        return []
    if has_magic(spec):
        return sorted(path.parent.glob(path.name))
    return expand(spec)


def list_shards(shards: list[Path]) -> Listing:
    """Every image in the shards, in their order, with its class from `KEY.cls` where there is one."""
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
                f"{printable(shard)} is no plain tar file ({error}); unpack a compressed shard, copy a damaged one "
                "again"
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
    """Put one member where it belongs: an image, a class, a reject, or what is ignored."""
    folder, _, file = member.name.rpartition("/")
    stem, _, extension = file.partition(".")
    path, key = printable(f"{shard}:{member.name}"), f"{shard}:{folder}/{stem}"
    ending = "." + extension.rpartition(".")[2].lower()
    if not member.isfile():
        listing.ignored.update([] if member.isdir() else ["no regular file"])
    elif not stem:
        listing.ignored["hidden"] += 1
    elif ending in ENDINGS and member.issparse():
        listing.rejects.append(Reject(path, "a sparse tar member"))
    elif ending in ENDINGS:
        listing.images.append(StoredImage(path, str(shard), member.offset_data, member.size))
        keys.append(key)
    elif extension == "cls":
        content = archive.extractfile(member)
        classes[key] = content.read(256).decode("utf-8", "replace").strip() if content else ""
    else:
        listing.ignored[ending] += 1
