"""`ArchiveCodec`: many images in one block of bytes, at the bound of an integer chain.

A block is the stack of `nelbo.codec.ans` after all images are pushed. The stack has to begin with some bytes from which
the first images draw: if the images are small, some of them, stored without the model; else pseudo-random words.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.codec.ans import LANES, Exhausted, Stack, words_of
from nelbo.codec.bits_back import pop_images, push_images
from nelbo.codec.bitstream import Bitstream
from nelbo.codec.header import HeaderReader, varint
from nelbo.codec.raw_image import LARGEST_IMAGE, RawImage, pixels_on_cpu, shape_of_raw
from nelbo.codec.tiling import Tiling
from nelbo.errors import CodecError, ShapeError
from nelbo.lattice import LatticeModel
from nelbo.networks.integers import exact_float32
from nelbo.progress import Progress

TOGETHER = 8  # tiles that are pushed together, at most
PIXELS_A_BYTE, FREE_PIXELS = 1 << 14, 1 << 20  # a block may have so many pixels for each byte, and so many more
HASH_BYTES = 8
START_KEY = (1 << 34, 0)  # of the pseudo-random words with which a stack may begin
MOST_DOUBLINGS = 8  # of their number: a draw of y takes at most 24 bits for each dimension and step

Size = tuple[int, int]  # height, width


class ArchiveCodec:
    """Blocks of images by one model.

    Args:
        model: an integer chain with its pixel network.
        fingerprint: at least 8 bytes that identify the model.

    Raises:
        CodecError: the arithmetic of this machine is not exact, so that its archives could not be read elsewhere.
    """

    def __init__(self, model: LatticeModel, fingerprint: bytes) -> None:
        model.require_exact()
        self.model, self.fingerprint = model, fingerprint
        channels, height, width = model.chain.linear.mean.shape
        self.shape = (channels, height, width)

    @torch.no_grad()
    @exact_float32()
    def encode(self, images: Sequence[Tensor], progress: Progress | None = None) -> bytes:
        """Encode images (C, H, W) uint8 of any size as a block, never longer than the images stored without the model.

        Raises:
            ShapeError: an image is empty or not uint8, or has other channels or levels than the model; or the images
                are so plain that a reader would not trust the block.
        """
        images = [self._checked(image) for image in images]
        raw = [RawImage(image).to_bytes() for image in images]
        block = self._head(images, raw, 0) + b"".join(raw)
        if images:
            block = min(block, self._with_model(images, progress), key=len)
        if not self._may_hold(block, [(image.shape[1], image.shape[2]) for image in images]):
            raise ShapeError(
                f"{len(images)} images in {len(block)} bytes exceed the limit of an archive; cut them first."
            )
        return block

    def _with_model(self, images: Sequence[Tensor], progress: Progress | None) -> bytes:
        """Encode images with a stack that begins with the fewest bytes that are enough."""
        for num, num_words in self._beginnings(images):
            raw = [RawImage(image).to_bytes() for image in images[:num]]
            try:
                return self._head(images, raw, num_words) + self._pushed(raw, num_words, images[num:], progress)
            except Exhausted:
                continue
        raise CodecError("the images need more bits to begin with than any draw takes; the model is damaged.")

    def _beginnings(self, images: Sequence[Tensor]) -> Iterator[tuple[int, int]]:
        """Yield what a stack may begin with, from less to more: a number of images, and of words that are not stored.

        Images cost less than half of their bytes, and words cost all of theirs. So images are taken if they are small.
        """
        needed, num = math.prod(self.shape), 1
        while num <= len(images) // 4 and sum(image.numel() for image in images[:num]) < 4 * needed:
            yield num, 0
            num += 1 + num // 4
        for doublings in range(MOST_DOUBLINGS):
            yield 0, LANES + (-(-needed // 8) << doublings)

    def _head(self, images: Sequence[Tensor], raw: Sequence[bytes], num_words: int) -> bytes:
        """Return the hash of all images, the sizes of those without the model, and the words that are not stored."""
        lengths = b"".join(varint(len(each)) for each in raw)
        return hash_of_all(images) + varint(len(raw)) + lengths + varint(num_words)

    def _pushed(
        self, raw: Sequence[bytes], num_words: int, images: Sequence[Tensor], progress: Progress | None
    ) -> bytes:
        stack = Stack(_beginning(b"".join(raw), num_words))
        tilings = [self._tiling(*image.shape[1:]) for image in images]
        tiles = torch.cat([tiling.split(image) for tiling, image in zip(tilings, images, strict=True)]).long()
        real = torch.cat([tiling.real() for tiling in tilings])
        groups, done = group_sizes(len(tiles)), 0
        for some, theirs in zip(tiles.split(groups), real.split(groups), strict=True):
            push_images(stack, self.model, some, theirs)
            done += len(some)
            if progress is not None:
                progress(done, len(tiles))
        return stack.to_bytes()

    @torch.no_grad()
    @exact_float32()
    def decode(self, block: bytes, sizes: Sequence[Size], progress: Progress | None = None) -> list[Tensor]:
        """Decode a block of images of these sizes.

        Raises:
            CodecError: the block is damaged, or does not hold images of these sizes.
        """
        reader = HeaderReader(block)
        expected, num = reader.take(HASH_BYTES), reader.varint()
        if num > len(sizes):
            raise CodecError(f"the block is damaged: it states {num} raw images of {len(sizes)}.")
        if not self._may_hold(block, sizes):  # before memory is allocated
            raise CodecError(f"the block is damaged: {len(block)} bytes are too few for {len(sizes)} images.")
        lengths, num_words = [reader.varint() for _ in range(num)], reader.varint()
        rest, images = reader.rest(), list[Tensor]()
        if num < len(sizes):
            stack = Stack.from_bytes(rest)
            images = self._popped(stack, [self._tiling(*size) for size in sizes[num:]], progress)
            rest = self._bottom(stack, sum(lengths), num_words)
        images = [*_raw_images(rest, lengths, [(self.shape[0], *size) for size in sizes[:num]]), *images]
        if hash_of_all(images) != expected:
            raise CodecError("the block is damaged: the decoded pixels do not match its hash.")
        return images

    def _popped(self, stack: Stack, tilings: Sequence[Tiling], progress: Progress | None) -> list[Tensor]:
        real, found, done = torch.cat([tiling.real() for tiling in tilings]), list[Tensor](), 0
        for some in reversed(real.split(group_sizes(len(real)))):
            found.append(pop_images(stack, self.model, some).to(torch.uint8))
            done += len(some)
            if progress is not None:
                progress(done, len(real))
        tiles = torch.cat(found[::-1]).split([tiling.num_tiles for tiling in tilings])
        return [tiling.join(own) for tiling, own in zip(tilings, tiles, strict=True)]

    def _bottom(self, stack: Stack, num_bytes: int, num_words: int) -> bytes:
        """Return the bytes with which the stack began.

        Raises:
            CodecError: it does not end as it began.
        """
        bottom = stack.bottom()
        content = bottom.astype("<u4").tobytes()[:num_bytes]
        if len(bottom) != -(-num_bytes // 4) + num_words or not np.array_equal(_beginning(content, num_words), bottom):
            raise CodecError("the block is damaged: the stack does not end as it began.")
        return content

    def _tiling(self, height: int, width: int) -> Tiling:
        return Tiling(height, width, self.shape)

    def _checked(self, image: Tensor) -> Tensor:
        """Return an image on the CPU, after checking its channels and levels."""
        image, levels = pixels_on_cpu(image), self.model.chain.linear.levels
        if image.numel() > LARGEST_IMAGE:
            raise ShapeError(f"the image has {image.numel():,} values, and an archive's at most {LARGEST_IMAGE:,}.")
        if len(image) != self.shape[0]:
            raise ShapeError(f"the image has {len(image)} channels, and the model's images have {self.shape[0]}.")
        if int(image.max()) >= levels:
            raise ShapeError(
                f"the image has a level of {int(image.max())}, and the model's levels are 0..{levels - 1}."
            )
        return image

    def _may_hold(self, block: bytes, sizes: Sequence[Size]) -> bool:
        """Return whether a block has bytes enough for images of these sizes, with the padding of their tiles."""
        return sum(self._tiling(*size).num_pixels for size in sizes) <= PIXELS_A_BYTE * len(block) + FREE_PIXELS


def group_sizes(num: int) -> list[int]:
    """Return how many of `num` tiles are pushed together: few at first, because the stack begins with few bits.

    >>> group_sizes(20)
    [1, 1, 2, 4, 8, 4]
    """
    sizes, size = list[int](), 1
    while num > 0:
        sizes.append(min(size, num))
        num -= sizes[-1]
        size = min(sum(sizes), TOGETHER)
    return sizes


def _beginning(content: bytes, num_words: int) -> NDArray[np.uint32]:
    """Return the words with which a stack begins: bytes, and words of Philox that reader and writer compute."""
    drawn = np.random.Philox(counter=0, key=np.array(START_KEY, dtype=np.uint64)).random_raw(-(-num_words // 2))
    return np.concatenate([words_of(content), drawn.astype("<u8").view("<u4")[:num_words].astype(np.uint32)])


def hash_of_all(images: Sequence[Tensor]) -> bytes:
    """Return 8 bytes of SHA-256 over the shapes and pixels of images."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(str(tuple(image.shape)).encode() + image.contiguous().numpy().tobytes())
    return digest.digest()[:HASH_BYTES]


def _raw_images(content: bytes, lengths: Sequence[int], shapes: Sequence[tuple[int, int, int]]) -> list[Tensor]:
    """Read images that are stored without the model, one after another, of these shapes."""
    if len(content) != sum(lengths):
        raise CodecError("the block is damaged: its raw images have another length than stated.")
    found, place = list[Tensor](), 0
    for length, shape in zip(lengths, shapes, strict=True):
        part = content[place : place + length]
        if shape_of_raw(part) != shape:  # before it is unpacked
            raise CodecError("the block is damaged: its images have other sizes than stated.")
        image = Bitstream.from_bytes(part)
        assert isinstance(image, RawImage)
        found.append(image.pixels)
        place += length
    return found
