"""Sources that are read from their beginning only, as data to train on.

The first window of the source is decoded when it is opened: it says the shape, the mode and the classes, and gives the
held-out images. Nothing else is read before training.
"""

from itertools import islice

import torch

from nelbo.data.beside import Beside
from nelbo.data.datasets import ArrayDataset, Split
from nelbo.data.folders import DataWarning, Listing
from nelbo.data.held_out import held_out_count
from nelbo.data.hugging_face import is_table, stream_table
from nelbo.data.names import STREAM_PREFIX, URLS, Mode, Range, Size
from nelbo.data.ranges import choice_of_range
from nelbo.data.remote_shards import ShardStream
from nelbo.data.scanning import build, first, scan
from nelbo.data.shards import expand_names, find_shards
from nelbo.data.stored import StoredImage, StoredImages, printable
from nelbo.data.stream_dataset import WINDOW, ExampleStream, StreamDataset
from nelbo.display import counted
from nelbo.errors import ConfigurationError, DataError, option, warn
from nelbo.progress import Progress, reported


def open_stream(spec: str) -> tuple[ExampleStream, ExampleStream | None]:
    """Return the stream that a spec names, and that of its held-out part if it has one.

    Raises:
        DataError: it names none, or the source cannot be read.
        ConfigurationError: a package is not installed.
    """
    inner = spec.removeprefix(STREAM_PREFIX)
    if inner.startswith(URLS):
        return ShardStream(inner.rpartition("/")[2], tuple(expand_names(inner))), None
    if is_table(inner):
        return stream_table(inner)
    if shards := find_shards(inner):
        name = printable(shards[0].stem if len(shards) == 1 else shards[0].parent.name)
        return ShardStream(name, tuple(map(str, shards))), None
    raise DataError(
        f"{spec} names no stream; expected .tar shards, Parquet files, a saved data set or hf:OWNER/NAME after "
        f"{STREAM_PREFIX}."
    )


def check_stream(spec: str, quantum: float | None, beside: Beside) -> None:
    """Refuse what cannot be read with a stream.

    Raises:
        ConfigurationError: a quantum, or what lies beside images.
    """
    if named := [*(["quantum"] if quantum is not None else []), *beside.given]:
        raise ConfigurationError(
            f"{spec} is a stream, for which {' and '.join(map(option, named))} cannot be given; leave it out, or copy "
            "the images to this disk."
        )


def first_images(spec: str, num: int = WINDOW) -> Listing:
    """Return at most `num` images of a stream, and of its held-out part, encoded in memory.

    Raises:
        DataError: see `open_stream`.

    Warns:
        DataWarning: the stream has, or may have, more images.
    """
    stream, apart = open_stream(spec)
    listing = beginning(stream, num, apart, num)
    if len(listing.images) - len(listing.held_out) == num != stream.num:
        stated = f"; it states that it has {stream.num:,}" if stream.num else ""
        warn(f"{stream.name} is a stream, of which the first {num:,} images were read{stated}.", DataWarning)
    return listing


class Encoded:
    """Encoded images in memory, as a `Table`."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def read(self, row: int) -> bytes:
        """Return the encoded image in a row."""
        return self.rows[row]


def beginning(stream: ExampleStream, num: int, apart: ExampleStream | None = None, num_apart: int = 0) -> Listing:
    """Return the first images of a stream, and after them those of its held-out part, encoded in memory.

    The offset of an image is its place among them.

    Args:
        num: number of images, fewer if the stream ends before.
        apart: the held-out part, if there is one.
        num_apart: number of its images.

    Raises:
        DataError: one of the streams has no images.
    """
    table, held = Encoded(), set[str]()
    listing = Listing(stream.name, StoredImages(), [], held_out=held)
    for part, most in ((stream, num), (apart, num_apart)):
        before = len(table.rows)
        for example in islice(part.read(0), most) if part is not None else ():
            listing.images.append(StoredImage(example.name, table, len(table.rows)))
            listing.classes.append(example.label)
            table.rows.append(example.content)
            if part is apart:
                held.add(example.name)
        if part is not None and len(table.rows) == before:
            raise DataError(f"{part.name} has no images.")
    return listing


def load_stream(
    spec: str,
    size: Size | None,
    mode: Mode | None,
    held_out: float | None,
    on_reject: str,
    num_images: int | None,
    workers: int | None,
    progress: Progress | bool | None,
    largest: int | None,
    range: Range | str,
    window: int = WINDOW,
) -> Split:
    """Load a stream; the other arguments are those of `nelbo.data.load_data`.

    The first images are held out, or those of a part of its own.

    Args:
        window: images within which the order of training is shuffled.

    Raises:
        DataError: the source cannot be read, or its first images cannot be used.
        ConfigurationError: `held_out` for a source that has its own part.

    Warns:
        DataWarning: how the order of training differs from that of a folder.
    """
    stream, apart = open_stream(spec)
    total = num_images or stream.num or _counted(stream, progress)
    if apart is not None and held_out is not None:
        raise ConfigurationError(
            f"{option('held_out')} is {held_out}, but {stream.name} has its own held-out part; leave "
            f"{option('held_out')} out."
        )
    held = 0 if apart is not None else held_out_count(held_out, total)
    held = held if held_out is not None else min(held, window)
    if held >= total:
        raise DataError(f"{stream.name} has {counted(total, 'image')}, and {held:,} held out leave none to train on.")
    listing = beginning(stream, min(held + window, total), apart, window)
    found = scan(listing, size, workers, progress, largest=largest, range=range)
    found.warn(choice_of_range())
    if on_reject == "stop" and found.rejects:
        raise DataError(f"{spec}: {counted(len(found.rejects), 'image')} cannot be used: {first(found.rejects)}.")
    whole = build(found, size, mode, 2**62)
    assert isinstance(whole, ArrayDataset)
    outside = torch.tensor([stored.offset < held or stored.path in listing.held_out for stored in found.files])
    sample = whole.subset((~outside).nonzero().flatten())
    if len(sample) == 0:
        raise DataError(f"{stream.name}: none of the first images to train on can be used: {first(found.rejects)}.")
    train = StreamDataset(
        stream,
        sample,
        held,
        total - held,
        fitted=size is not None,
        limits=found.limits,
        window=window,
        replaces=on_reject == "skip",
    )
    _warn_of_order(train)
    return Split(train, whole.subset(outside.nonzero().flatten()), found.limits)


def _counted(stream: ExampleStream, progress: Progress | bool | None) -> int:
    """Read a stream to its end to count its images."""
    total = 0
    with reported(progress, "counting images") as report:
        for total, _ in enumerate(stream.read(0), 1):
            report(total, total + 1)
    if total == 0:
        raise DataError(f"{stream.name} has no images.")
    warn(
        f"{stream.name} was read to its end, because it does not state its number of images; set "
        f"{option('num_images', total)} the next time.",
        DataWarning,
    )
    return total


def _warn_of_order(train: StreamDataset) -> None:
    warn(
        f"{train.name} is read as a stream: the order of training is that of the source, shuffled within windows of "
        f"{train.window:,} images, not over the whole set. If its classes or scenes follow one another, shuffle the "
        "source first, or copy it to this disk.",
        DataWarning,
    )
