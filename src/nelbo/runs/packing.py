"""An archive written block by block, so that a writer that was stopped continues after the last complete one."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout
from torch import Tensor

from nelbo.codec import ArchiveCodec
from nelbo.codec.archive_codec import HASH_BYTES, hash_of_all
from nelbo.codec.archive_file import FINGERPRINT, HEAD_BYTES, Block, Found, end, header, scan
from nelbo.codec.archive_index import Member, check_path
from nelbo.display import Displayed, Frame, counted, data_frame
from nelbo.errors import CodecError, ConfigurationError, DataError, RunError, ShapeError, option, shown
from nelbo.progress import StageProgress, no_stages

MOST_IN_BLOCK = 4096  # images
FEW_VALUES, MOST_TILES = 1 << 18, 256  # a block is full at this many values, and at the values of this many tiles

Packed = tuple[Member, Tensor]
Encode = Callable[[Iterable[Sequence[Tensor]]], Iterable[bytes]]


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
    images: Iterable[Packed],
    codec: ArchiveCodec,
    target: Path,
    progress: StageProgress = no_stages,
    encode: Encode | None = None,
) -> ArchiveReport:
    """Write an archive of images, or continue one that was stopped: the file equals an unbroken one.

    The blocks are written to a hidden file beside `target`, which is renamed at the end.

    Args:
        images: read one by one; their paths must be different.
        progress: called with the block, and the tiles done and in total.
        encode: yields what `codec.encode` returns for the pixels of each block, in order; it may take several blocks
            before it yields the first. None encodes one after the other.

    Raises:
        ConfigurationError: `target` exists; or two images have the same path.
        DataError: there are no images.
        ShapeError: an image has another size than its member states.
        CodecError: a path that an archive cannot hold.
        RunError: the file cannot be written, or another process writes it.
    """
    _refuse_existing(target)
    part = target.with_name(f".{target.name}.part")

    def one_by_one(blocks: Iterable[Sequence[Tensor]]) -> Iterator[bytes]:
        for pixels in blocks:
            yield codec.encode(pixels, lambda done, total: progress(f"packing block {blocks_of.number}", done, total))

    with _alone(part, target), _opened(part, target) as file:
        blocks_of = _Blocks(images, codec, file)
        for content in (encode or one_by_one)(blocks_of.missing()):
            blocks_of.add(content, target)
        if not blocks_of.paths:
            raise DataError(f"there are no images to pack into {target}.")
        with _writing(target):
            _written(file, blocks_of.place, end(blocks_of.number, len(blocks_of.paths)))
            os.fsync(file.fileno())
            _refuse_existing(target)
            os.replace(part, target)
    return ArchiveReport(target, len(blocks_of.paths), blocks_of.number, target.stat().st_size, blocks_of.num_dims)


class _Blocks:
    """The blocks of an archive, of which the first complete ones are in its file already.

    Attributes:
        number: of blocks that were taken.
        place: the end of the last complete block in the file.
        paths: of the images that were taken.
        num_dims: number of values of their pixels.
    """

    def __init__(self, images: Iterable[Packed], codec: ArchiveCodec, file: BinaryIO) -> None:
        self.images, self.codec, self.file = images, codec, file
        self.done, self.place, self.number, self.num_dims = _begun(file, codec), HEAD_BYTES, 0, 0
        self.paths = set[str]()
        self.waiting = deque[tuple[int, int, list[Member]]]()  # number, first image and members of blocks without bytes

    def missing(self) -> Iterator[list[Tensor]]:
        """Yield the pixels of each block that is not in the file yet."""
        for group in _grouped(self.images, max(FEW_VALUES, MOST_TILES * prod(self.codec.shape))):
            number, first = self.number, len(self.paths)
            members, pixels = [member for member, _ in group], [image for _, image in group]
            for member, image in group:
                self._check(member, image)
            self.number, self.num_dims = number + 1, self.num_dims + sum(image.numel() for image in pixels)
            if number < len(self.done) and _holds(self.file, self.done[number], members, pixels):
                self.place = self.done[number].after
            else:
                self.done = []
                self.waiting.append((number, first, members))
                yield pixels

    def add(self, content: bytes, target: Path) -> None:
        """Write the first block that waits for its bytes."""
        number, first, members = self.waiting.popleft()
        block = Block(number, first, members, content).to_bytes()
        _check_back(block, members)
        with _writing(target):
            self.place = _written(self.file, self.place, block)

    def _check(self, member: Member, image: Tensor) -> None:
        if member.size != tuple(image.shape[1:]):
            raise ShapeError(f"{shown(member.path)} is {tuple(image.shape)}, not {member.size} (height, width).")
        if check_path(member.path) in self.paths:
            raise ConfigurationError(f"several images have the name {shown(member.path)}; rename one.")
        self.paths.add(member.path)


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise ConfigurationError(f"{target} exists already; choose another {option('out')}, or delete it.")


@contextmanager
def _alone(part: Path, target: Path) -> Iterator[None]:
    """Lock the hidden file of an archive against a second writer; at the end, remove it if it has no block.

    Raises:
        RunError: another process has the lock, or the folder cannot be written.
    """
    lock = FileLock(f"{part}.lock")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunError(
            f"another process is writing {target}; wait for it, or choose another {option('out')}."
        ) from error
    except OSError as error:
        raise RunError(f"{target} could not be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if part.exists() and part.stat().st_size <= HEAD_BYTES:
                part.unlink()
            Path(f"{part}.lock").unlink()
        lock.release()


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Turn the error of a write within the block into a `RunError`."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{target} could not be written: {error.strerror or error}.") from error


def _check_back(block: bytes, members: Sequence[Member]) -> None:
    """Check that a reader finds a block.

    Raises:
        CodecError: it doesn't, because the block exceeds a limit of the format.
    """
    found = scan(BytesIO(header(bytes(FINGERPRINT)) + block)).blocks
    if not found or list(found[0].members) != list(members):
        raise CodecError(
            f"an archive cannot hold {members[0].path} and the images beside it: their block is too large."
        )


def _opened(part: Path, target: Path) -> BinaryIO:
    """Open the hidden file of an archive, new or as it was left."""
    with _writing(target):
        return open(part, "r+b" if part.exists() else "w+b")


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
            place = done[-1].after if done else HEAD_BYTES
            if block.number != len(done) or block.start != place or not _is_intact(file, block):
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


def _grouped(images: Iterable[Packed], most: int) -> Iterator[list[Packed]]:
    """Group images into blocks of at most `most` values, unless a block has one image."""
    group, total = list[Packed](), 0
    for member, pixels in images:
        if group and (total + pixels.numel() > most or len(group) == MOST_IN_BLOCK):
            yield group
            group, total = [], 0
        group.append((member, pixels))
        total += pixels.numel()
    if group:
        yield group
