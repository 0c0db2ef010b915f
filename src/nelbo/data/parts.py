"""Folders and shards that are parts of a data set, such as `train` and `test`, recognized by their names."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from nelbo.data.losses import in_words
from nelbo.data.stored import printable
from nelbo.display import counted

Folders = tuple[str, ...]  # of one image, from the root of the set down

TRAIN, TEST, VALIDATION = "train", "test", "validation"
WORDS = {
    TRAIN: "train(?:ing)?",
    TEST: "test(?:ing)?|eval(?:uation)?|(?:hold|held)[-_ ]?out",
    VALIDATION: "val(?:id(?:ation)?)?|dev(?:elopment)?",
}
# What may follow: test_set, train2017, and trainA of two domains (with a capital letter).
SUFFIX = r"(?i:[-_ ]?(?:set|data|dataset|split|part|images|pictures))?(?:[-_ ]?(?P<domain>[AB])|[-_ ]?\d{1,4})?"
PREFIX = r"(?:.*[-_ .])?"  # of names that are only looked at for a warning: mnist_test
MOST_SHOWN = 6  # folders in a warning
IN_FOLDERS = "its sub-folders are the parts of a data set, not classes"
IN_SHARDS = "its shards, or the folders in them, are the parts of a data set"


@dataclass(frozen=True)
class Parts:
    """The parts that the images of a set are in; the lists have one entry per image.

    Attributes:
        classes: the class of each image by name, or None.
        used: whether each image is used: it is in a part to train on, or held out.
        held_out: whether each image is held out.
        unused: the number of images in other parts, by the name of the folder.
        note: how the names were understood, for a warning; "" if none is that of a part, or if that changes nothing.
    """

    classes: list[str | None]
    used: list[bool]
    held_out: list[bool]
    unused: Counter[str]
    note: str = ""


@lru_cache(maxsize=4096)
def part_of(name: str, prefix: str = "") -> str | None:
    """Return the part that a folder is by its name; None if it is none.

    >>> part_of("Training_Set"), part_of("testA"), part_of("holdout"), part_of("val2017"), part_of("trains")
    ('train', 'test', 'test', 'validation', None)

    Args:
        prefix: a regular expression of what may come before the name of the part.
    """
    return next((part for part, words in WORDS.items() if re.fullmatch(_pattern(words, prefix), name)), None)


def _pattern(words: str, prefix: str = "") -> str:
    return f"{prefix}(?i:{words}){SUFFIX}"


def parts_of(folders: Sequence[Folders], root: str, *, in_shards: bool = False) -> Parts:
    """Understand the folders of each image.

    They are parts if every image is in a folder named like one, at the same depth: at the top, below one folder or
    folders of one each that hold everything, or below the classes. Of a part to train on and others, those named test
    are held out, or else those for validation. Otherwise the first folder is the class, and a note names the folders
    that may be meant as parts.

    Args:
        root: the name of the set, for the note.
        in_shards: whether the names are those of shards and of folders in them. Classes do not depend on these, so
            there is no note if all images are in the same part.
    """
    start, depth = _depth_of_parts(folders)
    if depth is None:
        count = len(folders)
        classes = [each[0] if each else None for each in folders]
        return Parts(classes, [True] * count, [False] * count, Counter(), _doubt(folders, root, in_shards))
    names = [each[depth] for each in folders]
    number = Counter(names)
    found = {part_of(name) for name in number}
    held = next((part for part in (TEST, VALIDATION) if {part, TRAIN} <= found), None)
    used = {TRAIN, held} if held else found
    unused = Counter({name: count for name, count in number.items() if part_of(name) not in used})
    apart = [printable(name) for name in number if part_of(name) == held]
    how = f"{in_words(apart)} {_are(apart)} held out" if held else "nothing else is held out because of them"
    left = [printable(name) for name in unused]
    what = IN_SHARDS if in_shards else IN_FOLDERS
    rest = f"; {in_words(left)} {_are(left)} not used" if left else ""
    return Parts(
        [_class_of(each[start:depth] + each[depth + 1 :], each[depth]) for each in folders],
        [name not in unused for name in names],
        [part_of(name) == held for name in names] if held else [False] * len(names),
        unused,
        "" if in_shards and len(found) == 1 else f"{root}: {what}: {_listed(number)}; {how}{rest}.",
    )


def _depth_of_parts(folders: Sequence[Folders]) -> tuple[int, int | None]:
    """Return the number of folders that hold everything, and at which depth the folders are parts, or None."""
    start = 0
    if folders:
        for name, other in zip(min(folders), max(folders), strict=False):  # what these share, all share
            if name != other or part_of(name):
                break
            start += 1
    for depth in (start, start + 1):
        if folders and all(len(each) > depth and part_of(each[depth]) for each in folders):
            return start, depth
    return start, None


def _class_of(others: Folders, part: str) -> str | None:
    """Return the class of an image: the first other folder, or else the domain in the name of the part (trainA)."""
    if others:
        return others[0]
    matches = (re.fullmatch(_pattern(words), part) for words in WORDS.values())
    return next((found["domain"] for found in matches if found), None)


def _doubt(folders: Sequence[Folders], root: str, in_shards: bool) -> str:
    """Return a warning for folders or shards that may be meant as parts but are not read so; "" if there are none."""
    number = Counter(name for each in folders for name in dict.fromkeys(each))
    loose = {name: part for name in number if (part := part_of(name, PREFIX))}
    if len(set(loose.values())) < 2 or TRAIN not in loose.values():
        loose = {name: part for name in number if (part := part_of(name))}
    if not loose:
        return ""
    named = "is named like a part" if len(loose) == 1 else "are named like parts"
    listed = f"{root}: {_listed(Counter({name: number[name] for name in loose}))} {named} of a data set"
    if in_shards:
        return (
            f"{listed}, but not every image is in such a shard or folder, or not at the same depth. So nothing is held "
            "out because of them. If they are parts, name all shards like train-000.tar or test-000.tar; if they are "
            "not, keep the names."
        )
    classes = sorted({each[0] for each in folders if each})
    shown = ", ".join(map(printable, classes[:MOST_SHOWN])) + (", ..." if len(classes) > MOST_SHOWN else "")
    return (
        f"{listed}, but not every image is in such a folder, or not at the same depth. So nothing is held out because "
        f"of them, and the first sub-folders are the classes: {shown}. If they are parts, put every image into "
        "train/CLASS or test/CLASS; if they are classes, keep them."
    )


def _listed(number: Counter[str]) -> str:
    """Name folders with their numbers of images."""
    each = [f"{printable(name)} ({counted(count, 'image')})" for name, count in number.items()]
    return in_words(each[:MOST_SHOWN] + [f"{len(each) - MOST_SHOWN} more"] * (len(each) > MOST_SHOWN))


def _are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"
