"""Reading of archives; `nelbo.runs.packing` writes them."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path, PurePosixPath

from torch import Tensor

from nelbo.codec import ArchiveCodec
from nelbo.codec.archive_file import Contents, Found, read_header, scan
from nelbo.codec.archive_index import Member, problem_of
from nelbo.data.names import IMAGE_ENDINGS
from nelbo.errors import CodecError, DataError
from nelbo.progress import Progress
from nelbo.runs.codec_plan import MADE_ARCHIVES, find_model
from nelbo.runs.folder import find_run
from nelbo.runs.integer_model import IntegerModel


@dataclass(frozen=True)
class Archive:
    """An archive that is opened for reading.

    Attributes:
        path: the file.
        fingerprint: the first 8 bytes of that of its model.
        contents: its blocks.
    """

    path: Path
    fingerprint: bytes
    contents: Contents

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """Read the header and the indices of an archive.

        Raises:
            DataError: the file cannot be read.
            CodecError: it is no archive.
        """
        try:
            with path.open("rb") as file:
                return cls(path, read_header(file), scan(file))
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
        except CodecError as error:
            raise CodecError(f"{path}: {error.marked}") from error

    @property
    def members(self) -> list[Member]:
        """The images of all blocks whose index is intact, in order."""
        return [member for block in self.contents.blocks for member in block.members]

    def read(self, block: Found, codec: ArchiveCodec, progress: Progress | None = None) -> list[Tensor]:
        """Decode a block.

        Raises:
            CodecError: it is damaged, or by another model.
        """
        if codec.fingerprint[: len(self.fingerprint)] != self.fingerprint:
            raise CodecError(
                f"{self.path} was made by the model {self.fingerprint.hex()}, and this model is "
                f"{codec.fingerprint[:8].hex()}; choose the model that made it."
            )
        with self.path.open("rb") as file:
            content = block.read(file)
        return codec.decode(content, [member.size for member in block.members], progress)

    def targets(self, folder: Path) -> dict[str, Path]:
        """Return the PNG file in a folder for each image by its path in the archive.

        Where a name is taken, in small or capital letters, the image keeps its ending before .png, or gets a number. An
        image whose name would lead out of the folder is left out.
        """
        paths = list(dict.fromkeys(member.path for member in self.members if not problem_of(member.path)))
        taken = {_folded(str(folder)) for path in paths for folder in PurePosixPath(path).parents}
        found = dict[str, Path]()
        for path in paths:
            name = next(name for name in _names(path) if _folded(name) not in taken)
            taken.add(_folded(name))
            found[path] = folder / name
        return found


def _names(path: str) -> Iterator[str]:
    """Yield file names for an image, the best first."""
    pure = PurePosixPath(path)
    stem = str(pure.with_suffix("")) if pure.suffix.lower() in IMAGE_ENDINGS else path
    yield f"{stem}.png"
    yield f"{path}.png"
    yield from (f"{path}-{number}.png" for number in count(2))


def _folded(name: str) -> str:
    """Return what is equal for names that some system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def codec_of(archive: Archive, model: str | None) -> ArchiveCodec:
    """Return the codec of an archive: of a run that is named, or found by the fingerprint.

    Raises:
        NelboError: see `IntegerModel.load` and `find_model`.
    """
    folder = find_run(model) if model else find_model(archive.fingerprint, MADE_ARCHIVES)
    return IntegerModel.load(folder).archive_codec()
