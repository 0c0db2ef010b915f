"""The names of the images of a set, made when they are asked for: a list of them would take more memory than pixels."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

from nelbo.data.datasets import ImageDataset
from nelbo.data.folder_dataset import FolderDataset
from nelbo.data.stored import StoredImage


class _Names(Sequence[str]):
    """Names by index."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of image `index`, 0..N-1."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        places = range(len(self))[index]
        return self.name(places) if isinstance(places, int) else [self.name(place) for place in places]


@dataclass(frozen=True)
class ArrayNames(_Names):
    """Names of the images of an array: its name with the index in brackets."""

    array: str
    num: int

    def __len__(self) -> int:
        return self.num

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return f"{self.array}[{index}]"


@dataclass(frozen=True)
class FileNames(_Names):
    """Names of images in files: see `StoredImage.name`."""

    files: Sequence[StoredImage]

    def __len__(self) -> int:
        return len(self.files)

    def name(self, index: int) -> str:
        """Return the name of an image."""
        return self.files[index].name


def names_of(images: ImageDataset) -> Sequence[str]:
    """Return the names of the images of a set: those of their files, if they stayed there."""
    return FileNames(images.files) if isinstance(images, FolderDataset) else ArrayNames(images.name, len(images))
