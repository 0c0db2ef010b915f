"""The images of `nelbo compress`: read twice, one by one, so that a folder of photographs needs no memory for all."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nelbo.cli.console import name_rejects
from nelbo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.data import Picture, Reject
    from nelbo.data.names import Range


@dataclass(frozen=True)
class Known:
    """What the first reading keeps of an image.

    Attributes:
        place: its number in the source.
        name, path: see `nelbo.data.Picture`.
        shape: (C, H, W).
        pixel_hash: see `nelbo.codec.raw_image.hash_of`.
        changed: what the pixels or the .nelbo file lack, in words; "" if nothing.
    """

    place: int
    name: str
    path: str | None
    shape: tuple[int, ...]
    pixel_hash: bytes
    changed: str

    @classmethod
    def of(cls, place: int, picture: Picture) -> Known:
        """Keep what is needed of a picture."""
        from nelbo.codec.raw_image import hash_of

        changed = "; ".join(filter(None, (picture.lost, picture.metadata)))
        shape = tuple(picture.pixels.shape)
        return cls(place, picture.name, picture.path, shape, hash_of(picture.pixels), changed)

    @property
    def num_dims(self) -> int:
        """Number of values of the pixels."""
        channels, height, width = self.shape
        return channels * height * width


@dataclass(frozen=True)
class Images:
    """The images that a model can compress.

    Attributes:
        spec, num, limits: the arguments of `nelbo.data.read_pictures`.
        known: what is known of each image.
        rejects: the files that cannot be compressed.
    """

    spec: str
    num: int | None
    limits: Range | None
    known: list[Known] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    @classmethod
    def of(cls, spec: str, num: int | None, channels: int, limits: Range | None, model: str) -> Images:
        """Read all images once.

        Args:
            spec: see `nelbo.data.read_pictures`, also for `num` and `limits`.
            channels: of the model's images.
            model: its name.

        Raises:
            DataError: there is no image that the model can compress.
        """
        from nelbo.data import Reject

        images = cls(spec, num, limits)
        for place, found in enumerate(images._read()):
            each = _fitting(found, channels)
            if isinstance(each, Reject):
                images.rejects.append(each)
            else:
                images.known.append(Known.of(place, each))
        if not images.known:
            name_rejects(images.rejects)
            raise DataError(f"{spec} has no image that {model} can compress.")
        return images

    def pixels(self, numbers: Collection[int]) -> Iterator[tuple[int, Tensor]]:
        """Read some images again. Yields the number in `known` and the pixels (C, H, W) of each.

        Raises:
            DataError: an image is not the one of the first reading.
        """
        from nelbo.codec.raw_image import hash_of
        from nelbo.data import Reject

        wanted = {self.known[number].place: number for number in numbers}
        found = enumerate(self._read()) if wanted else iter(())
        for place, picture in found:
            number = wanted.pop(place, None)
            if number is None:
                continue
            known = self.known[number]
            if isinstance(picture, Reject) or hash_of(picture.pixels) != known.pixel_hash:
                raise _changed(known)
            yield number, picture.pixels
            if not wanted:
                return
        for number in wanted.values():
            raise _changed(self.known[number])

    def _read(self) -> Iterator[Picture | Reject]:
        from nelbo.data import read_pictures

        return read_pictures(self.spec, self.num, limits=self.limits)


def _changed(image: Known) -> DataError:
    return DataError(f"{image.path or image.name} has changed since the command began; run it again.")


def _fitting(found: Picture | Reject, channels: int) -> Picture | Reject:
    """Return an image with the model's number of channels, or why it is rejected."""
    from nelbo.data import Reject

    if isinstance(found, Reject) or len(found.pixels) == channels:
        return found
    kinds = {1: "grey", 3: "in colour"}
    theirs, ours = kinds.get(len(found.pixels), "?"), kinds.get(channels, "points")
    return Reject(found.name, f"{theirs}, and the model's images are {ours}")
