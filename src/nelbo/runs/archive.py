"""Archives: the model of a run that codes them, and images packed into a file and unpacked again."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from torch import Tensor

from nelbo.codec import ArchiveCodec
from nelbo.codec.archive_codec import HASH_BYTES, hash_of_all
from nelbo.codec.archive_file import (
    HEAD_BYTES,
    Block,
    Contents,
    Found,
    Member,
    check_path,
    end,
    header,
    read_header,
    scan,
)
from nelbo.data.names import IMAGE_ENDINGS
from nelbo.display import Displayed, Frame, counted, data_frame
from nelbo.errors import CodecError, ConfigurationError, DataError, RunError, option
from nelbo.files import read_tensors, write_tensors
from nelbo.lattice import LatticeModel
from nelbo.lattice.storage import fingerprint_of, model_from, settings_of, tensors_of
from nelbo.progress import Progress, StageProgress, no_stages
from nelbo.runs.codec_plan import find_model
from nelbo.runs.folder import find_run

ARCHIVE_FILE = "archive.safetensors"
MOST_VALUES, MOST_IN_BLOCK = 1 << 20, 4096  # of the pixels of a block, unless it has one image; images in it

Packed = tuple[Member, Tensor]


def save_archive_model(model: LatticeModel, folder: Path) -> None:
    """Write the model of archives into a run folder."""
    write_tensors(
        folder / ARCHIVE_FILE,
        tensors_of(model),
        {"fingerprint": fingerprint_of(model).hex(), "settings": settings_of(model)},
    )


def load_archive(folder: Path) -> ArchiveCodec:
    """Return the codec of archives of a run.

    Raises:
        ConfigurationError: its model has not been trained.
        RunError: its file is damaged.
    """
    path = folder / ARCHIVE_FILE
    if not path.is_file():
        raise ConfigurationError(
            f"{folder} has no model for archives: {ARCHIVE_FILE} is missing; train it once with `nelbo codec --archive "
            f"{folder}`, on the run's training images."
        )
    tensors, metadata = read_tensors(path)
    try:
        model = model_from(metadata.get("settings", {}), tensors)
    except RunError as error:
        raise RunError(f"{path}: {error.marked}") from error
    fingerprint = fingerprint_of(model)
    if metadata.get("fingerprint") != fingerprint.hex():
        raise RunError(f"{path} is damaged: its tensors do not match its fingerprint; restore it from a copy.")
    return ArchiveCodec(model, fingerprint)


@dataclass(frozen=True)
class ArchiveReport(Displayed):
    """An archive that was written.

    Attributes:
        path: the file.
        num_images, num_blocks: what it holds.
        num_bytes: its size.
        num_dims: number of values of all pixels.
    """

    path: Path
    num_images: int
    num_blocks: int
    num_bytes: int
    num_dims: int

    @property
    def bits_per_dim(self) -> float:
        """Size of the file over the number of values of all pixels."""
        return 8 * self.num_bytes / max(self.num_dims, 1)

    def summary(self) -> dict[str, str]:
        """Return what the archive holds and its size."""
        return {
            "archive": f"{self.path}: {counted(self.num_images, 'image')} in {counted(self.num_blocks, 'block')}",
            "size": f"{self.num_bytes:,} bytes, {self.bits_per_dim:.4f} bits/dim",
        }

    def to_pandas(self) -> Frame:
        """Return a data frame of pandas with one row.

        Raises:
            ConfigurationError: pandas is not installed.
        """
        values = {**vars(self), "path": str(self.path), "bits_per_dim": self.bits_per_dim}
        return data_frame({name: [value] for name, value in values.items()})


def pack(
    images: Iterable[Packed], codec: ArchiveCodec, target: Path, progress: StageProgress = no_stages
) -> ArchiveReport:
    """Write an archive of images, or go on with one that was stopped: the file equals an unbroken one.

    The blocks are written to a hidden file beside `target`, which is renamed at the end.

    Args:
        images: read one by one; the names must be different.
        progress: called with the block, and the tiles done and in total.

    Raises:
        ConfigurationError: `target` exists.
        CodecError: a name that an archive cannot hold.
        RunError: the file cannot be written.
    """
    if target.exists():
        raise ConfigurationError(f"{target} exists already; choose another {option('out')}, or delete it.")
    part, names, num_dims, blocks = target.with_name(f".{target.name}.part"), Counter[str](), 0, 0
    with _writing(part, target) as file:
        done, place = _begun(file, codec), HEAD_BYTES
        for number, group in enumerate(_grouped(images)):
            members, pixels = [member for member, _ in group], [image for _, image in group]
            first = names.total()
            names.update(check_path(member.path) for member in members)
            num_dims, blocks = num_dims + sum(image.numel() for image in pixels), number + 1
            if number < len(done) and _holds(file, done[number], members, pixels):
                place = done[number].after
            else:
                done = []
                content = codec.encode(pixels, _of_block(progress, number))
                place = _written(file, place, Block(number, first, members, content).to_bytes())
        if taken := [name for name, count in names.items() if count > 1]:
            raise ConfigurationError(
                f"several images have the same name, such as {taken[0]}: {counted(len(taken), 'name')} in all; rename "
                "them."
            )
        _written(file, place, end(blocks, names.total()))
    return ArchiveReport(target, names.total(), blocks, target.stat().st_size, num_dims)


def _of_block(progress: StageProgress, number: int) -> Progress:
    return lambda done, total: progress(f"packing block {number + 1}", done, total)


@contextmanager
def _writing(part: Path, target: Path) -> Iterator[BinaryIO]:
    """Open the hidden file of an archive, new or as it was left, and rename it at the end."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "r+b" if part.exists() else "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
    except OSError as error:
        raise RunError(f"{target} could not be written: {error.strerror or error}.") from error


def _written(file: BinaryIO, place: int, content: bytes) -> int:
    """Write bytes at a place, which become the last ones of the file; return the place after them."""
    file.seek(place)
    file.write(content)
    file.truncate()
    file.flush()
    return place + len(content)


def _begun(file: BinaryIO, codec: ArchiveCodec) -> list[Found]:
    """Return the first complete blocks of an archive that the same model began; write its header if there are none."""
    start, done = header(codec.fingerprint), list[Found]()
    file.seek(0)
    if file.read(len(start)) == start:
        for block in scan(file).blocks:
            if block.number != len(done) or not _is_intact(file, block):
                break
            done.append(block)
    if not done:
        _written(file, 0, start)
    return done


def _is_intact(file: BinaryIO, block: Found) -> bool:
    try:
        block.read(file)
    except CodecError:
        return False
    return True


def _holds(file: BinaryIO, block: Found, members: Sequence[Member], pixels: Sequence[Tensor]) -> bool:
    """Return whether a block that was written before holds these images."""
    file.seek(block.place)
    return list(block.members) == list(members) and file.read(HASH_BYTES) == hash_of_all(pixels)


def _grouped(images: Iterable[Packed]) -> Iterator[list[Packed]]:
    """Group images into blocks."""
    group, total = list[Packed](), 0
    for member, pixels in images:
        if group and (total + pixels.numel() > MOST_VALUES or len(group) == MOST_IN_BLOCK):
            yield group
            group, total = [], 0
        group.append((member, pixels))
        total += pixels.numel()
    if group:
        yield group


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

        An image keeps its ending before .png where another one has the same name without it.

        Raises:
            CodecError: a name would lead out of the folder.
        """
        paths = [check_path(member.path) for member in self.members]
        short = Counter(_as_png(path).casefold() for path in paths)
        names = {path: _as_png(path) if short[_as_png(path).casefold()] == 1 else f"{path}.png" for path in paths}
        return {path: folder / name for path, name in names.items()}


def _as_png(path: str) -> str:
    """Return a path with the ending .png instead of that of an image."""
    pure = PurePosixPath(path)
    return str(pure.with_suffix(".png")) if pure.suffix.lower() in IMAGE_ENDINGS else f"{path}.png"


def codec_of(archive: Archive, model: str | None) -> ArchiveCodec:
    """Return the codec of an archive: of a run that is named, or found by the fingerprint.

    Raises:
        NelboError: see `load_archive` and `find_model`.
    """
    return load_archive(find_run(model) if model else find_model(archive.fingerprint, ARCHIVE_FILE))
