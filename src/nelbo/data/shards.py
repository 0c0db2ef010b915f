"""WebDataset shards: tar files in which `KEY.jpg` is an image and `KEY.cls` its class.

The standard library's `tarfile` indexes them, and members are read in place by their offset. So shards need no extra
package, the order of training is that of a folder, and a run can resume at any step. Compressed shards have no random
access and are refused. `streams` reads shards behind a URL.
"""

import codecs
import os
import re
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from glob import escape, glob, has_magic
from pathlib import Path, PurePosixPath

from nelbo.data.archives import START_BYTES, DamagedArchiveError, Member, archives
from nelbo.data.datasets import Reject
from nelbo.data.folders import Listing
from nelbo.data.names import IMAGE_ENDINGS, SHARD_ENDING, path_of
from nelbo.data.parts import Folders, parts_of
from nelbo.data.stored import SIGNATURE_BYTES, StoredImage, StoredImages, Unreadable, format_of, printable
from nelbo.display import counted
from nelbo.errors import DataError
from nelbo.files import refuse_pointer

RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
WORD_STARTS = re.compile(r"(?<=[-_. ])")  # in the name of a shard
NUMBER = re.compile(r"[-_. ]?\d+(?:-of-\d+)?$")  # at its end
COMPRESSED_ENDINGS = (
    *(".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4"),
    *(".tgz", ".tbz", ".tbz2", ".txz", ".tzst"),
)
CLASS_ENDING = ".cls"
ENCODINGS = {  # of a class, by the byte order mark; UTF-32 begins like UTF-16
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def expand(spec: str) -> list[Path]:
    """Expand the ranges in braces of a path; see `expand_names`."""
    return [path_of(name) for name in expand_names(spec)]


def expand_names(spec: str) -> list[str]:
    """Expand the ranges in braces; leading zeros are kept, and several ranges give all combinations.

    >>> expand_names("https://a.org/{08..10}.tar")
    ['https://a.org/08.tar', 'https://a.org/09.tar', 'https://a.org/10.tar']
    """
    match = RANGE.search(spec)
    if match is None:
        return [spec]
    first, last = match.groups()
    if int(last) < int(first) or int(last) - int(first) >= 1_000_000:
        raise DataError(
            f"{spec}: the range {match.group()} must rise and span fewer than a million shards; write it like "
            "{000..009}."
        )
    numbers = (f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
    return [name for number in numbers for name in expand_names(spec[: match.start()] + number + spec[match.end() :])]


def find_shards(spec: str) -> list[Path]:
    """Find the tar files that `spec` names: a file, a range in braces, a pattern with `*`, or a folder; [] if none.

    Those of a folder may be in sub-folders. Compressed tar files are found where there are no others, to be refused.
    """
    path = path_of(spec)
    if os.path.isdir(path):
        return _shards_in(path, (SHARD_ENDING,)) or _shards_in(path, COMPRESSED_ENDINGS)
    if not spec.lower().endswith((SHARD_ENDING, *COMPRESSED_ENDINGS)):
        return []
    if has_magic(spec):
        return sorted(map(Path, glob(os.path.join(escape(str(path.parent)), path.name))))
    return expand(spec)


def _shards_in(root: Path, endings: tuple[str, ...]) -> list[Path]:
    """Find the files with one of the endings in a folder and its sub-folders; links are followed, each folder once."""
    found, seen = list[Path](), set[tuple[int, int]]()
    for folder, folders, files in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(folder, name) for name in files if name.lower().endswith(endings) and name[0] != "."]
    return sorted(found)


def list_shards(shards: list[Path]) -> Listing:
    """List every image in the shards, in their order, with its class from a `.cls` member if there is one.

    Members that agree up to the first dot of their file names belong together, as in WebDataset. Among them, an image
    with one extension (`0.jpg`) goes before those with several (`0.seg.png`), which are then ignored. The class of
    `22.05.png` is in `22.05.cls`, or else in `22.cls`. Of two members with one name, the later one counts, as in tar.
    Shards named like parts of a data set (`train-000.tar`, `test/000.tar`) are its parts; see `parts_of`.

    Raises:
        DataError: a shard is damaged or compressed.
    """
    root = Path(os.path.commonpath([os.path.realpath(shard.parent) for shard in shards]))
    listing = Listing(printable(shards[0].stem if len(shards) == 1 else root.name), StoredImages(), [])
    for shard in shards:
        if shard.name.lower().endswith(COMPRESSED_ENDINGS):
            raise DataError(
                f"{printable(shard)} is compressed, and nelbo reads the images of a shard in place; decompress it to a "
                f"{SHARD_ENDING} file, for example with gunzip."
            )
        try:
            for members in archives(shard):
                _list_archive(members, shard, listing)
        except DamagedArchiveError as damage:
            _list_archive(damage.members, shard, listing)
            raise DataError(
                f"{printable(shard)} is damaged at byte {damage.where}, after "
                f"{counted(len(listing.images), 'image')}: {printable(damage.cause)}; copy it again."
            ) from damage
        except (OSError, tarfile.TarError) as error:
            refuse_pointer(shard, DataError)
            raise DataError(
                f"{printable(shard)} is not an uncompressed tar file ({error}); decompress it, or copy a damaged one "
                "again."
            ) from error
    return _in_parts(listing, shards)


def _in_parts(listing: Listing, shards: Sequence[Path]) -> Listing:
    """Return the listing without the images of parts that are not used; see `parts_of`."""
    places = _places(shards)
    folders = [_folders_of(image, places) for image in listing.images]
    root = (os.path.commonpath([shard.parent for shard in shards]) or ".") if len(shards) > 1 else shards[0]
    parts = parts_of(folders, printable(root), in_shards=True)
    divided = listing.where(parts.used)
    divided.ignored.update({f"image of the part {printable(name)}": count for name, count in parts.unused.items()})
    apart = {image.path for image, held in zip(listing.images, parts.held_out, strict=True) if held}
    return replace(divided, held_out=apart, note=parts.note)


def _places(shards: Sequence[Path]) -> dict[object, Folders]:
    """Return where each shard is: its folders, and its name without what all names share and without its number.

    So data/train/000.tar is in ("train",), and mnist-train-000.tar beside mnist-test-000.tar too.
    """
    root = os.path.commonpath([shard.parent for shard in shards])
    words = [WORD_STARTS.split(shard.stem) for shard in shards]
    shared = next((i for i, each in enumerate(zip(*words, strict=False)) if len(set(each)) > 1), len(words[0]))
    places = dict[object, Folders]()
    for shard, each in zip(shards, words, strict=True):
        name = NUMBER.sub("", "".join(each[shared:]))
        places[str(shard)] = (*shard.parent.relative_to(root).parts, *([name] if name else []))
    return places


def _folders_of(image: StoredImage, places: dict[object, Folders]) -> Folders:
    """Return where an image is: the place of its shard, and its folders inside of the shard."""
    inside = image.path[len(printable(f"{image.container}:")) :]
    return places[image.container] + PurePosixPath(inside).parts[:-1]


def _list_archive(archive: Sequence[Member], shard: Path, listing: Listing) -> None:
    """Add the members of one archive to the images with their classes, the rejects, and the ignored files."""
    members = _by_name(archive, shard, listing)
    classes = _classes(members, shard, listing)
    images = [name for name, member in members.items() if _is_image(name, member)]
    plain = {_key(name) for name in images if _without_ending(name) == _key(name)}
    claimed = set[str]()
    for name, member in members.items():
        path, key, stem = printable(f"{shard}:{name}"), _key(name), _without_ending(name)
        if _is_class(name, member):
            continue
        if not member.info.isfile():
            listing.ignored.update([] if member.info.isdir() else ["no regular file"])
        elif name.rpartition("/")[2].startswith("."):
            listing.ignored["hidden"] += 1
        elif not _is_image(name, member):
            _ignore(name, member, path, listing)
        elif stem != key and key in plain:
            listing.ignored[printable(name[len(key) :].lower())] += 1
        elif member.info.issparse():
            listing.rejects.append(Reject(path, "a sparse tar member"))
        else:
            source = stem if stem in classes else key
            claimed.add(source)
            stored = StoredImage(path, str(shard), member.info.offset_data, member.info.size)
            listing.add(stored, classes.get(source))
    if unclaimed := len(classes.keys() - claimed):
        listing.ignored[".cls without an image"] += unclaimed


def _by_name(archive: Sequence[Member], shard: Path, listing: Listing) -> dict[str, Member]:
    """Return the members by name, in their order; one that a later one replaces is a reject."""
    members = dict[str, Member]()
    for member in archive:
        name = member.info.name
        if member.info.isfile() and name in members:
            listing.rejects.append(Reject(printable(f"{shard}:{name}"), "a later member has the same name"))
            del members[name]
        members[name] = member
    return members


def _classes(members: dict[str, Member], shard: Path, listing: Listing) -> dict[str, str]:
    """Return the class in each `.cls` member by its name without the ending."""
    classes = dict[str, str]()
    for name, member in members.items():
        if not _is_class(name, member):
            continue
        try:
            label = class_in(member.start)
        except Unreadable as reason:
            listing.rejects.append(Reject(printable(f"{shard}:{name}"), str(reason)))
            continue
        if label:
            classes[_without_ending(name)] = sys.intern(label)  # one object for all images of a class
        else:
            listing.ignored["empty .cls"] += 1
    return classes


def class_in(content: bytes) -> str:
    """Decode the content of a `.cls` member.

    Raises:
        Unreadable: it is no class name.
    """
    if len(content) >= START_BYTES:
        raise Unreadable(f"it has more than {START_BYTES - 1} bytes; expected the name of a class")
    encoding = next((name for mark, name in ENCODINGS.items() if content.startswith(mark)), "utf-8")
    try:
        name = content.decode(encoding)
    except UnicodeDecodeError:
        name = "\0"
    if "\0" in name:  # numbers in binary, or UTF-16 without a byte order mark
        raise Unreadable("it is not text in UTF-8, or in UTF-16 with a byte order mark; save it as UTF-8")
    return name.strip()


def _ignore(name: str, member: Member, path: str, listing: Listing) -> None:
    """Count a member that is no image by its name; one without an ending that begins like an image is a reject."""
    ending = os.path.splitext(name)[1].lower()
    kind = None if ending else format_of(member.start[:SIGNATURE_BYTES])
    if kind is None or (kind == "BMP" and any(member.start[6:10])):  # a text may begin with BM
        listing.ignored[printable(ending) or "no ending"] += 1
    else:
        reason = f"it begins like a {kind} image, but its name has no ending, such as .png; name it KEY.ENDING"
        listing.rejects.append(Reject(path, reason))


def _is_class(name: str, member: Member) -> bool:
    return member.info.isfile() and name.lower().endswith(CLASS_ENDING)


def _is_image(name: str, member: Member) -> bool:
    file = name.rpartition("/")[2]
    return member.info.isfile() and not file.startswith(".") and name.lower().endswith(IMAGE_ENDINGS)


def _key(name: str) -> str:
    """Return the name up to the first dot of the file name."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


def _without_ending(name: str) -> str:
    """Return the name without its last extension."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.rpartition(".")[0]
