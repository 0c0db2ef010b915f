"""A report on a data set, to read before training on it."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from nelbo.data.arrays import warn_of_low_levels
from nelbo.data.beside import Beside
from nelbo.data.datasets import ImageDataset, Loaded, Reject
from nelbo.data.measured import masked, warn_of_rounding
from nelbo.data.missing import with_missing
from nelbo.data.names import AUTO, CHANNELS, MODE_OF, Range, is_stream, path_of, read_range, spec_of
from nelbo.data.ranges import choice_of_range
from nelbo.data.scale import LevelScale, extremes
from nelbo.data.scanning import Scan, build, scan
from nelbo.data.sources import Listed, open_source
from nelbo.data.stored import printable
from nelbo.data.streams import check_stream, first_images
from nelbo.data.values import read_values
from nelbo.display import Displayed, Frame, bars, counted, data_frame
from nelbo.errors import DataError, option
from nelbo.options import check_whole, known
from nelbo.progress import Progress

File = bytes  # a type that a field of the report hides by its name
UNLABELLED = "(no class)"
MOST_SHOWN = 5  # sizes, classes or endings in the summary of a report


TABLES = {"sizes": "size", "modes": "mode", "classes": "class", "rejects": "path", "ignored": "ending"}  # first columns


@dataclass(frozen=True)
class DataReport(Displayed):
    """The contents of a data set.

    Attributes:
        spec: the spec that was described.
        kind: digits, fashion-mnist, toy, idx, arrays, datasets, folder, shards or stream.
        count: number of usable images; of a stream, among the first ones, the only ones that are read.
        shape: (C, H, W) of the set, or None if sizes differ (training then needs `size`).
        sizes: number of images by size, "WIDTHxHEIGHT".
        modes: number of images by the mode of their file (Pillow's names).
        classes: number of images by class.
        rejects: files with the ending or the first bytes of an image that cannot be used.
        ignored: number of other files, by ending.
        levels: K.
        bytes: memory that all pixels take, decoded at their own size.
        held_out: number of images in the set's own held-out part; 0 if it has none.
        values: the smallest and the largest value of images of more than 8 bits; None if there are none.
        range: the values of those images that become 0 and 255; None for those of the depth of each file. Of measured
            values, those of the first and the last level.
        quantum: the difference between the values of two levels of measured values; None for images of 8 bits.
        missing: share of the values that are missing pixels: NaN, or white in the mask.
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
    values: Range | None = None
    range: Range | None = None
    quantum: float | None = None
    missing: float = 0.0

    def summary(self) -> Mapping[str, str]:
        """Return the images and their sizes, modes and classes, and the files that cannot be used."""
        shape = f"{' x '.join(map(str, self.shape))} (C x H x W)" if self.shape else "several sizes"
        held_out = f", {self.held_out:,} of them held out by the set" if self.held_out else ""
        rows = {
            "data": f"{self.spec} ({self.kind})",
            "images": f"{self.count:,}, {shape}{held_out}",
            "sizes": _most_common(self.sizes) if len(self.sizes) > 1 else "",
            "modes": _most_common(self.modes),
            "values": "" if self.values is None else f"{self.values[0]:.6g} to {self.values[1]:.6g} in the files",
            "levels": "" if self.quantum is None or self.range is None else self._levels_in_words(self.range),
            "missing": f"{self.missing:.2%} of the values" if self.missing else "",
            "classes": _most_common(self.classes),
            "rejects": self._rejects_in_words(),
            "ignored": _most_common(self.ignored),
        }
        return {name: text for name, text in rows.items() if text}

    def _levels_in_words(self, range: Range) -> str:
        low, high = range
        return f"{self.levels:,}: the values {low:.6g} to {high:.6g} in steps of {self.quantum:g}"

    def _rejects_in_words(self) -> str:
        if not self.rejects:
            return ""
        first = f"{self.rejects[0].path} ({self.rejects[0].reason})"
        return f"{counted(len(self.rejects), 'file')}, such as {first}" if len(self.rejects) > 1 else first

    def pictures(self) -> Mapping[str, Sequence[File]]:
        """Return the number of images of each class as bars."""
        if len(self.classes) < 2:
            return {}
        counts = sorted(self.classes.items())
        caption = f"number of images by class, from {counts[0][0]} (left) to {counts[-1][0]} (right)"
        return {caption: [bars([count for _, count in counts])]}

    def to_pandas(self, table: str = "sizes") -> Frame:
        """Return a table of the report as a data frame of pandas.

        Args:
            table: "sizes", "modes" or "classes", with a row and the number of images for each; "ignored", with the
                number of files by ending; or "rejects", with the path of each file and the reason.

        Raises:
            ConfigurationError: an unknown table, or pandas is not installed.
        """
        if known(table, TABLES, "table") == "rejects":
            return data_frame({key: [getattr(each, key) for each in self.rejects] for key in ("path", "reason")})
        counts = dict(getattr(self, table).most_common())
        return data_frame(
            {TABLES[table]: list(counts), "files" if table == "ignored" else "images": list(counts.values())}
        )

    def to_json(self) -> dict[str, Any]:
        """Return the report as dictionaries, lists, strings and numbers."""
        counters = {name: dict(getattr(self, name).most_common()) for name in ("sizes", "modes", "classes", "ignored")}
        rejects = [{"path": reject.path, "reason": reject.reason} for reject in self.rejects]
        return {**vars(self), **counters, "shape": self.shape and list(self.shape), "rejects": rejects}


def describe(
    spec: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: Progress | bool | None = None,
    range: Range | str = AUTO,
    quantum: float | None = None,
    mask: Any = None,
) -> DataReport:
    """Report on the images that `spec` names (see `load_data`).

    Every image is decoded to its end and none is kept in memory. Rejects are reported, not raised, even if every file
    is one.

    Args:
        workers: threads that decode; None for one per usable processor, 0 to decode in the calling thread.
        progress: True for a progress bar, or a function that is called with (images done, images in all).
        range: see `load_data`.
        quantum: see `load_data`.
        mask: see `load_data`. Every picture of a folder is read.

    Raises:
        DataError: `spec` names nothing, or an array or IDX file is damaged; an image has no mask, or the images have
            several sizes and a mask.
        ConfigurationError: an invalid argument.

    Warns:
        DataWarning: ways in which the data is read that may not be expected; see `load_data`.
    """
    spec, range = spec_of(spec), read_range(range)
    if workers is not None:
        check_whole("workers", workers, 0)
    if quantum is not None:
        return _describe_values(spec, range, quantum, Beside(mask=mask))
    if is_stream(spec):
        check_stream(spec, quantum, Beside(mask=mask))
    source = Listed("stream", first_images(spec)) if is_stream(spec) else open_source(spec, seed=0, range=range)
    if isinstance(source, Loaded):
        warn_of_low_levels(source)
        return _describe_loaded(spec, source, Beside(mask=mask))
    source.listing.warn()
    found = scan(source.listing, None, workers, progress, memory_budget=0, range=range)
    found.warn(choice_of_range())
    report = _describe_files(spec, source, found)
    if mask is None:
        return report
    if report.shape is None:
        raise DataError(
            f"{spec} holds images of several sizes, so {option('mask')} is read in training only, with "
            f"{option('size')}; leave it out."
        )
    images = build(found, None, None, memory_budget=0)
    return replace(report, missing=_missing(Beside(mask=mask).attached(images, found.files, path_of(spec))))


def _describe_values(spec: str, range: Range | str, quantum: float, beside: Beside) -> DataReport:
    values, _ = masked(read_values(spec), beside, path_of(spec))
    scale = LevelScale.of(values.observed, range, quantum)
    warn_of_rounding(values, scale)
    channels, height, width = values.arrays[0].shape
    classes = Counter(UNLABELLED if name is None else printable(name) for name in values.classes)
    return DataReport(
        spec=spec,
        kind="measured values",
        count=len(values.arrays),
        shape=(channels, height, width),
        sizes=Counter({f"{width}x{height}": len(values.arrays)}),
        modes=Counter({f"{channels} x {scale.dtype}": len(values.arrays)}),
        classes=Counter() if set(classes) <= {UNLABELLED} else classes,
        rejects=values.rejects,
        levels=scale.levels,
        bytes=sum(array.nbytes for array in values.arrays),
        values=extremes(values.observed),
        range=(scale.low, scale.high),
        quantum=quantum,
        missing=0.0 if values.mask is None else float(values.mask.mean()),
    )


def _most_common(counts: Counter[str]) -> str:
    """Write the largest counts, and how many others there are."""
    shown = [f"{name}: {count:,}" for name, count in counts.most_common(MOST_SHOWN)]
    return ", ".join(shown + [f"{len(counts) - MOST_SHOWN:,} more"] * (len(counts) > MOST_SHOWN))


def _describe_files(spec: str, source: Listed, found: Scan) -> DataReport:
    sizes = Counter(found.sizes)
    channels = CHANNELS[found.mode]
    uniform = next(iter(sizes)) if len(sizes) == 1 else None
    classes = Counter(UNLABELLED if name is None else printable(name) for name in found.classes)
    return DataReport(
        spec=spec,
        kind=source.kind,
        count=len(found.files),
        shape=uniform and (channels, *uniform),
        sizes=Counter({f"{width}x{height}": number for (height, width), number in sizes.items()}),
        modes=Counter(found.modes),
        classes=Counter() if set(classes) <= {UNLABELLED} else classes,
        rejects=found.rejects,
        ignored=found.ignored,
        bytes=sum(channels * height * width for height, width in found.sizes),
        held_out=sum(stored.path in source.listing.held_out for stored in found.files),
        values=found.deep.values,
        range=found.limits,
    )


def _describe_loaded(spec: str, source: Loaded, beside: Beside) -> DataReport:
    beside = with_missing(beside, source.missing, f"the images of {source.train.name}")
    parts = [source.train] if source.test is None else [source.train, source.test]
    channels, height, width = source.train.shape
    count = sum(map(len, parts))
    mode = MODE_OF.get(channels, f"{channels} channels")
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
        range=source.limits,
        missing=_missing(beside.attached(source.train, None, None)),
    )


def _missing(images: ImageDataset) -> float:
    """Return the share of the values that are missing pixels."""
    observed = images.observed(torch.arange(len(images)))
    return 0.0 if observed is None else 1.0 - float(observed.double().mean())


def _classes(part: ImageDataset) -> Counter[str]:
    labels = [] if part.labels is None else part.labels.tolist()
    return Counter(UNLABELLED if label < 0 else part.class_names[label] for label in labels)
