"""Images of a source that is read from its beginning only, as a set to train on."""

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.data.datasets import ArrayDataset, ImageDataset
from nelbo.data.decoding import decode, to_tensor
from nelbo.data.folders import DataWarning
from nelbo.data.names import MODE_OF, Range
from nelbo.data.stored import StoredImage, Unreadable
from nelbo.display import counted
from nelbo.errors import DataError, option, warn

WINDOW = 4096  # images within which the order of training is shuffled
KEPT = 2  # windows in memory: a batch may begin in one and end in the next


@dataclass(frozen=True)
class Example:
    """An encoded image of a stream, with its name and its class, None for none. It is its own `Table` of one row."""

    name: str
    content: bytes
    label: str | None = None

    def read(self, row: int) -> bytes:
        """Return the encoded image."""
        return self.content


class ExampleStream(Protocol):
    """A source of examples without random access. Each reading yields the same examples in the same order.

    Attributes:
        name: of the set.
    """

    name: str

    @property
    def num(self) -> int | None:
        """The number of examples, or None if the source does not state it."""
        ...

    def read(self, start: int) -> Iterator[Example]:
        """Yield the examples from number `start` on.

        Raises:
            DataError: the source cannot be read, or is damaged.
        """
        ...


class StreamDataset(ImageDataset):
    """Images of a stream. The encoded images of two windows are in memory, and a window before them is read again.

    Any image can be read, but only an order that stays within one window after the other is fast; `TrainingStream` has
    such an order. An image that cannot be decoded is replaced by the next one of its window that can.

    Args:
        stream: the source.
        sample: the first images of the set, in memory, which say its shape, its classes and their shares.
        start: number of examples of the stream that are before the set.
        num: N, the number of images of the set.
        fitted: whether images are resized and cropped; otherwise one of another size counts as one that cannot be
            decoded.
        limits: the values that become black and white in an image of more than 8 bits; None for those of its depth.
        window: images of a window.
        replaces: whether an image that cannot be decoded is replaced; otherwise it is an error.
        places: int64 (N,), the images of a subset; None for all.
    """

    in_memory = False

    def __init__(
        self,
        stream: ExampleStream,
        sample: ArrayDataset,
        start: int,
        num: int,
        *,
        fitted: bool,
        limits: Range | None = None,
        window: int = WINDOW,
        replaces: bool = True,
        places: Tensor | None = None,
    ) -> None:
        super().__init__(sample.name, sample.shape, sample.levels, None, sample.class_names, sample.rejects)
        self.stream, self.sample, self.start, self.num, self.places = stream, sample, start, num, places
        self.fitted, self.limits, self.replaces = fitted, limits, replaces
        self.window = self._length = window  # the set of a general kind may have none
        self._reader: Iterator[Example] | None = None
        self._next = 0  # the window that the reader is before
        self._replaced = 0  # images that were replaced, in all epochs
        self._number: dict[str | None, int] = {name: label for label, name in enumerate(self.class_names)}
        self._forget()

    def __len__(self) -> int:
        return self.num if self.places is None else len(self.places)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_windows": OrderedDict(), "_reader": None}

    @property
    def class_counts(self) -> tuple[int, ...]:
        """The number of images of each class, estimated from the first images."""
        return tuple(round(count * len(self) / len(self.sample)) for count in self.sample.class_counts)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Read and decode the images at `indices`, uint8 (n, C, H, W).

        Raises:
            DataError: the source cannot be read, ends too soon, or has a window without an image that can be decoded.
        """
        chosen = self._placed(indices)
        pixels = torch.empty((len(chosen), *self.shape), dtype=torch.uint8)
        for i in self._reading_order(chosen):
            pixels[i] = self._decoded(int(chosen[i]))
        return pixels

    def condition(self, indices: Tensor | Sequence[int]) -> ConditionLike | None:
        """Return the labels of the images at `indices`, int64 (n,); None if no image of the sample has a class."""
        if self.sample.labels is None:
            return None
        chosen = self._placed(indices)
        labels = torch.empty(len(chosen), dtype=torch.int64)
        for i in self._reading_order(chosen):
            window, place = divmod(int(chosen[i]), self._length)
            labels[i] = self._number.get(self._read(window)[place].label, -1)
        return labels

    def subset(self, indices: Tensor) -> "StreamDataset":
        """Return a set of the images at `indices` (int64), in that order, which reads the source for itself."""
        options: dict[str, Any] = {"fitted": self.fitted, "limits": self.limits, "replaces": self.replaces}
        options |= {"window": self._length, "places": self._placed(indices)}
        return StreamDataset(self.stream, self.sample, self.start, self.num, **options)

    def spread(self, most: int) -> ImageDataset:
        """Return at most `most` of the images in memory, evenly spread over them."""
        return self.sample.spread(most)

    def at_random(self) -> ImageDataset:
        """Return the first images of the set, which are in memory."""
        return self.sample

    def _placed(self, indices: Tensor | Sequence[int]) -> Tensor:
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        return chosen if self.places is None else self.places[chosen]

    def _reading_order(self, chosen: Tensor) -> list[int]:
        """Return the places of images in the order of their windows, which begins anew once, at the next epoch."""
        windows = chosen // self._length
        after_the_first = (windows - windows[:1]) % -(-self.num // self._length)
        return after_the_first.argsort(stable=True).tolist()

    def _decoded(self, index: int) -> Tensor:
        """Decode an image, or the next one of its window that can be decoded, which then takes its place."""
        number, place = divmod(index, self._length)
        window = self._read(number)
        for i in range(len(window)):
            example = window[(place + i) % len(window)]
            try:
                pixels = self._pixels(example)
            except Unreadable as reason:
                if self.replaces:
                    self._say_replaced(example.name, reason)
                    continue
                raise DataError(
                    f"{example.name} cannot be used: {reason}; repair it, or replace such images by others with "
                    f"{option('on_reject', 'skip')}."
                ) from None
            window[place] = example
            return pixels
        many = counted(len(window), "image")
        raise DataError(f"{self.name}: none of the {many} from {window[0].name} on can be used; check the source.")

    def _say_replaced(self, name: str, reason: Unreadable) -> None:
        """Warn of an image that another one replaces: of the first, the tenth, the hundredth one, and so on."""
        self._replaced += 1
        if str(self._replaced).strip("0") == "1":
            many = "this is the first one" if self._replaced == 1 else f"there were {self._replaced:,} so far"
            warn(
                f"{name} cannot be used: {reason}. The next image takes its place; {many}. To stop at such an image, "
                f"set {option('on_reject', 'stop')}.",
                DataWarning,
            )

    def _pixels(self, example: Example) -> Tensor:
        channels, height, width = self.shape
        decoded = decode(StoredImage(example.name, example), (height, width) if self.fitted else None, self.limits)
        pixels = to_tensor(decoded.pixels, MODE_OF[channels])
        if pixels.shape != self.shape:
            raise Unreadable(f"it is {pixels.shape[2]}x{pixels.shape[1]}, but the first images are {width}x{height}")
        return pixels

    def _read(self, number: int) -> list[Example]:
        """Return the examples of window `number`."""
        if self._process != os.getpid():  # a reader may hold a connection, which two processes cannot share
            self._forget()
        if number not in self._windows:
            if self._reader is None or number < self._next:
                self._reader, self._next = self.stream.read(self.start + number * self._length), number
            while self._next < number:
                self._take(self._reader)
            found = self._take(self._reader)
            while len(self._windows) >= KEPT:
                self._windows.popitem(last=False)
            self._windows[number] = found
        return self._windows[number]

    def _take(self, reader: Iterator[Example]) -> list[Example]:
        """Read the next window."""
        number = self._next
        expected = min(self._length, self.num - number * self._length)
        found = list(islice(reader, expected))
        self._next = number + 1
        if len(found) < expected:
            total = self.start + number * self._length + len(found)
            self._reader = None
            if not found:  # the reader began beyond the end
                raise DataError(
                    f"{self.name} has at most {counted(total, 'image')}, but {self.start + self.num:,} were expected; "
                    f"set {option('num_images')} to their number."
                )
            raise DataError(
                f"{self.name} ends after {counted(total, 'image')}, but {self.start + self.num:,} were expected; set "
                f"{option('num_images', total)}."
            )
        return found

    def _forget(self) -> None:
        self._windows: OrderedDict[int, list[Example]] = OrderedDict()
        self._reader = None
        self._next = 0
        self._process: int = os.getpid()
