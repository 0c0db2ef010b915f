"""What is in a data set, for a person to read before training on it."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from nelbo.data.datasets import ImageDataset, Reject, printable
from nelbo.data.scanning import Progress, Scan, scan
from nelbo.data.sources import Loaded, open_source

UNLABELLED = "(no class)"


@dataclass(frozen=True)
class DataReport:
    """What a data set is made of.

    Attributes:
        kind: digits, fashion-mnist, toy, idx, arrays, folder or shards.
        count: images that can be used.
        shape: (C, H, W) of the set, or None where sizes differ (then training needs `--size`).
        sizes: images by size, "WIDTHxHEIGHT".
        modes: images by the mode in which they are stored (Pillow's names).
        classes: images by class.
        rejects: files that claim to be images and cannot be used.
        ignored: other files, by ending.
        levels: K.
        bytes: what all pixels take in memory, decoded at their own size.
        held_out: images in the held-out part that the set brings along; 0 when one would be chosen.
    """

    spec: str
    kind: str
    count: int
    shape: tuple[int, int, int] | None
    sizes: Counter[str]
    modes: Counter[str]
    classes: Counter[str] = field(default_factory=Counter)
    rejects: list[Reject] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    levels: int = 256
    bytes: int = 0
    held_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """The report as plain dictionaries, lists, strings and numbers."""
        counters = {name: dict(getattr(self, name).most_common()) for name in ("sizes", "modes", "classes", "ignored")}
        rejects = [{"path": reject.path, "reason": reject.reason} for reject in self.rejects]
        return {**vars(self), **counters, "shape": self.shape and list(self.shape), "rejects": rejects}


def describe(spec: str, *, workers: int | None = None, progress: Progress | None = None) -> DataReport:
    """What `spec` (as for `load_data`) holds.

    Every image is decoded to its end, in `workers` threads (one a usable processor if None), and none is kept. Rejects
    are reported, not raised, even when nothing else is there.
    """
    source = open_source(spec, seed=0)
    if isinstance(source, Loaded):
        return _describe_loaded(spec, source)
    return _describe_files(spec, source.kind, scan(source.listing, None, workers, progress, memory_budget=0))


def _describe_files(spec: str, kind: str, found: Scan) -> DataReport:
    sizes = Counter(found.sizes)
    channels = 1 if found.mode == "L" else 3
    uniform = next(iter(sizes)) if len(sizes) == 1 else None
    classes = Counter(UNLABELLED if name is None else printable(name) for name in found.classes)
    return DataReport(
        spec=spec,
        kind=kind,
        count=len(found.files),
        shape=uniform and (channels, *uniform),
        sizes=Counter({f"{width}x{height}": number for (height, width), number in sizes.items()}),
        modes=Counter(found.modes),
        classes=Counter() if set(classes) <= {UNLABELLED} else classes,
        rejects=found.rejects,
        ignored=found.ignored,
        bytes=sum(channels * height * width for height, width in found.sizes),
    )


def _describe_loaded(spec: str, source: Loaded) -> DataReport:
    parts = [source.train] if source.test is None else [source.train, source.test]
    channels, height, width = source.train.shape
    count = sum(map(len, parts))
    mode = {1: "L", 3: "RGB"}.get(channels, f"{channels} channels")
    return DataReport(
        spec=spec,
        kind=source.kind,
        count=count,
        shape=source.train.shape,
        sizes=Counter({f"{width}x{height}": count}),
        modes=Counter({mode: count}),
        classes=sum((_classes(part) for part in parts), Counter()),
        levels=source.train.levels,
        bytes=count * channels * height * width,
        held_out=0 if source.test is None else len(source.test),
    )


def _classes(part: ImageDataset) -> Counter[str]:
    labels = [] if part.labels is None else part.labels.tolist()
    return Counter(UNLABELLED if label < 0 else part.class_names[label] for label in labels)
