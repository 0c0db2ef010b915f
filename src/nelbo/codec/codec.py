"""`ProgressiveCodec`: images to files and back. Its `encode` and `decode` are the entry points.

A file is decoded in this order:

1. `Bitstream.from_bytes` (bitstream.py) splits the bytes into header (fingerprint, size, hash) and message.
2. `ProgressiveCodec.decode` compares the fingerprint and the checksum, and starts a `Receiver` (receiver.py) per file.
3. `receive` (receiver.py) runs Algorithm 4 from x_T to x_1: for each step a prediction, then `read_step` (message.py).
4. In a lossless file, `read_pass` reads the exact pixels. In one of version 1, `read_grid` rounds the last prediction
   to integers before (both in `message.py`).
5. `ProgressiveCodec.decode` compares the pixels with the hash.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream
from nelbo.codec.chain import SharedChain
from nelbo.codec.chunks import chunk_bits
from nelbo.codec.header import RESTORE
from nelbo.codec.raw_image import LARGEST_IMAGE, RawImage, hash_of, pixels_on_cpu
from nelbo.codec.receiver import Receiver, predict, receive
from nelbo.codec.sender import send_steps, write_messages
from nelbo.codec.tiling import Tiling
from nelbo.codec.version import FORMAT
from nelbo.display import Displayed, counted, pngs
from nelbo.errors import CodecError, ConfigurationError, ShapeError, option
from nelbo.options import check_whole
from nelbo.progress import Progress, shifted


@dataclass(frozen=True)
class Decoded(Displayed):
    """A picture from a file.

    Attributes:
        image: (C, H, W) uint8; of measured values their levels, uint8 or int32, 0 where a pixel is missing.
        status: "lossless" (every pixel exact, checked by the hash), "lossy" (all that the file holds), "truncated"
            (from the bytes at hand, nothing of which can be checked), or "unverified" (nothing was checked).
        bytes_used: number of bytes of the file that the picture depends on.
        observed: (C, H, W) bool, false where a measured value is missing; None if none is.
    """

    image: Tensor
    status: str
    bytes_used: int
    observed: Tensor | None = None

    def summary(self) -> Mapping[str, str]:
        """Return the size of the picture, its status and the bytes that it took."""
        channels, height, width = self.image.shape
        return {
            "image": f"{channels} x {height} x {width} (C x H x W)",
            "status": f"{self.status}, from {counted(self.bytes_used, 'byte')}",
        }

    def pictures(self) -> Mapping[str, Sequence[bytes]]:
        """Return the picture; measured values are none."""
        shown = self.image.dtype == torch.uint8 and len(self.image) in (1, 3)
        return {self.status: pngs(self.image[None], 256)} if shown else {}


class ProgressiveCodec:
    """Algorithms 3 and 4 for one model.

    Args:
        chain: that sender and receiver run, such as `FloatChain` or `LatticeChain`.
        fingerprint: at least 8 bytes that identify the model.
        shape: (C, H, W) of the model's images.
    """

    def __init__(self, chain: SharedChain, fingerprint: bytes, shape: tuple[int, int, int]) -> None:
        self.chain, self.fingerprint, self.shape = chain, fingerprint, shape

    @torch.no_grad()
    def encode(
        self,
        images: Sequence[Tensor],
        *,
        effort: int = 5,
        lossless: bool = True,
        verify: bool = True,
        raw: bool = True,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> list[Bitstream | RawImage]:
        """Encode images (C, H, W) uint8 of any size; all of them go through the network together.

        Args:
            effort: 1..9, the size of a chunk. A larger one takes more time and wastes fewer bits.
            lossless: encode the exact pixels after the last step.
            raw: store an image without the model if its lossless file is longer, or does not decode to the same pixels.
            verify: with `raw`, decode each lossless file and compare its pixels.
            seed: of the sender's draws; the receiver does not need it.
            progress: called after each step and each pass of pixels.

        Raises:
            ConfigurationError: the effort is outside 1..9, or a lossy file is wanted of a chain without steps.
            ShapeError: an image is empty or not uint8, or has other channels or levels than the model.
            NonFiniteError: the network's output is NaN or infinite.
        """
        chunk_bits(effort)  # refuse a wrong effort before the work
        if not (lossless or self.chain.num_steps):
            raise ConfigurationError(
                f"a model of photographs sends pixels only, and nothing without them; limit {option('max_bytes')} for "
                "a lossy file."
            )
        if not images:
            return []
        images = [pixels_on_cpu(image) for image in images]
        tilings = [self._tiling(image) for image in images]
        tiles = torch.cat([tiling.split(image) for tiling, image in zip(tilings, images, strict=True)])
        steps, whole = self.chain.num_steps, self.chain.num_steps + (len(self.chain.passes) if lossless else 0)
        sent, x = send_steps(self.chain, tiles, effort, seed, shifted(progress, 0, whole))
        last = (x, self.chain.evidence(self.chain.predictions(x, 1), x)) if lossless else None
        reals = [tiling.real() for tiling in tilings]
        files = list[Bitstream]()
        messages = write_messages(self.chain, effort, sent, tiles, reals, last, shifted(progress, steps, whole))
        for image, message in zip(images, messages, strict=True):
            size = None if tuple(image.shape) == self.shape else (int(image.shape[1]), int(image.shape[2]))
            pixel_hash, version = hash_of(image) if lossless else None, self.chain.version
            files.append(Bitstream(self.fingerprint, effort, size, pixel_hash, message, len(message), version=version))
        if not (lossless and raw):
            return list(files)
        return self._or_raw(files, images, verify)

    def _or_raw(self, files: list[Bitstream], images: Sequence[Tensor], verify: bool) -> list[Bitstream | RawImage]:
        """Replace a file by the raw image if the file is longer, or does not decode to the same pixels."""
        back = self.decode(files, verify=False) if verify else None
        kept: list[Bitstream | RawImage] = []
        for i, (file, image) in enumerate(zip(files, images, strict=True)):
            raw = RawImage(image)
            exact = back is None or torch.equal(back[i].image, image)
            kept.append(file if exact and len(file.to_bytes()) <= len(raw.to_bytes()) else raw)
        return kept

    def decode_bytes(
        self, content: bytes, max_bytes: int | None = None, *, progress: Progress | None = None
    ) -> Decoded:
        """Decode the bytes of a file, or a preview from its first `max_bytes`.

        Args:
            progress: called after each step.

        Raises:
            CodecError: see `decode`.
            ConfigurationError: `max_bytes` is no whole number.
        """
        if max_bytes is not None:
            check_whole("max_bytes", max_bytes, None)
        file = Bitstream.from_bytes(content)
        if max_bytes is not None and isinstance(file, Bitstream):
            file.verify()
            file = file.first(max_bytes)
        return self.decode([file], progress=progress)[0]

    @torch.no_grad()
    def decode(
        self, files: Sequence[Bitstream | RawImage], *, verify: bool = True, progress: Progress | None = None
    ) -> list[Decoded]:
        """Decode files; all of them go through the network together.

        Args:
            verify: check each file's checksum before and its pixels after decoding. Without, the status of a picture
                from a model's file is "unverified", and a damaged file gives a wrong picture.
            progress: called after each step.

        Raises:
            CodecError: a file of another model; a damaged file; a file whose pixels do not match its hash; or bytes,
                which `Bitstream.from_bytes` turns into a file.
        """
        for file in files:
            if not isinstance(file, Bitstream | RawImage):
                raise CodecError(
                    f"decode was given {type(file).__name__}, expected files; Bitstream.from_bytes makes one of bytes."
                )
        streams = [file for file in files if isinstance(file, Bitstream)]
        for file in streams:
            self._check(file, verify)
        receivers = [self.receiver(file) for file in streams]
        receive(self.chain, receivers, progress=progress)
        found = iter([self._decoded(*each, verify) for each in zip(streams, receivers, strict=True)])
        return [
            Decoded(file.pixels, "lossless", len(file.to_bytes())) if isinstance(file, RawImage) else next(found)
            for file in files
        ]

    @torch.no_grad()
    def stream(self, pieces: Iterable[bytes]) -> Iterator[Decoded]:
        """Yield pictures of a file that arrives in pieces, one for each element of its message that is complete.

        Raises:
            CodecError: see `decode`. Only the whole file can be checked; earlier pictures may show damage.
        """
        held, receiver, seen = b"", None, 0
        for piece in pieces:
            held += piece
            file = Bitstream.beginning(held)
            if file is None:
                continue
            if isinstance(file, RawImage):
                yield Decoded(file.pixels, "lossless", len(held))
                return
            self._check(file)
            if receiver is None:
                receiver = self.receiver(replace(file, message=b""))
            receiver.feed(file.message[seen:], complete=file.complete)
            seen = len(file.message)
            yield from self._pictures(receiver, file)
        if receiver is None:
            Bitstream.from_bytes(held)  # raises: the header is cut short, or a raw image is

    def _pictures(self, receiver: Receiver, file: Bitstream) -> Iterator[Decoded]:
        """Yield every picture that the bytes at hand allow."""
        while not receiver.done:
            if receiver.needs_prediction:
                predict(self.chain, [receiver])
            elif not receiver.read():
                return
            if not receiver.needs_prediction:
                yield self._decoded(file, receiver)

    def tiling(self, height: int, width: int) -> Tiling:
        """Return how an image of a size is cut into tiles."""
        return Tiling(height, width, self.shape)

    def _tiling(self, image: Tensor) -> Tiling:
        if image.ndim != 3 or len(image) != self.shape[0]:
            kinds = {1: "grey", 3: "in colour"}
            given = tuple(image.shape)
            raise ShapeError(
                f"the image is {kinds.get(given[0], given)} ({given}), and the model's images are "
                f"{kinds.get(self.shape[0], self.shape)} ({self.shape}, C x H x W); choose a model of the same kind."
            )
        if int(image.max()) >= self.chain.levels:
            raise ShapeError(
                f"the image has a level of {int(image.max())}, and the model's levels are "
                f"0..{self.chain.levels - 1}; choose a model with more levels, or scale the image."
            )
        tiling = self.tiling(int(image.shape[1]), int(image.shape[2]))
        if tiling.num_values > LARGEST_IMAGE:
            raise ShapeError(f"an image of {tiling.height} x {tiling.width} pixels {_too_large(tiling)}; cut it first.")
        return tiling

    def receiver(self, file: Bitstream) -> Receiver:
        """Return a receiver at the start of the message of a file.

        Raises:
            CodecError: the file is by another model, or states an image that is too large.
        """
        self._check(file, verify=False)
        height, width = file.size or self.shape[1:]
        tiling = self.tiling(height, width)
        if tiling.num_values > LARGEST_IMAGE:  # before memory is allocated for the tiles
            raise CodecError(f"the file is damaged: an image of {height} x {width} pixels {_too_large(tiling)}.")
        lossless = file.pixel_hash is not None or file.prefix
        return Receiver(self.chain, tiling, file.effort, file.message, lossless=lossless, complete=file.complete)

    def _check(self, file: Bitstream, verify: bool = True) -> None:
        if (
            file.version != self.chain.version
            or self.fingerprint[: len(file.fingerprint)] != file.fingerprint[: len(self.fingerprint)]
        ):
            raise made_by_another(file.fingerprint, self.fingerprint.hex())
        if verify:
            file.verify()

    def _decoded(self, file: Bitstream, receiver: Receiver, verify: bool = True) -> Decoded:
        image = receiver.picture()
        used = min(receiver.position, len(file.message)) + file.overhead
        if not verify:
            return Decoded(image, "unverified", used)
        if file.truncated or not (receiver.done or file.prefix):
            return Decoded(image, "truncated", used)
        if file.pixel_hash is None:
            return Decoded(image, "lossy", used)
        if hash_of(image) != file.pixel_hash:
            why = OTHER_ARITHMETIC if file.version == FORMAT else ""
            raise CodecError(f"the decoded pixels do not match the file's hash: {why}the file is damaged; {RESTORE}")
        return Decoded(image, "lossless", used)


OTHER_ARITHMETIC = "this machine's arithmetic differs too much from that of the machine that made the file, or "


def _too_large(tiling: Tiling) -> str:
    return (
        f"would take {tiling.num_tiles:,} tiles of {tiling.tile[1]} x {tiling.tile[2]}, more than the "
        f"{LARGEST_IMAGE:,} values of pixels that a file may have"
    )


def made_by_another(maker: bytes, ours: str) -> CodecError:
    """Return the error for a file of another model; `ours` is in hexadecimal digits, or "" without a plan."""
    own = f"is {ours[:16]}" if ours else "has no codec plan"
    return CodecError(
        f"the file was made by the model {maker.hex()}, and this model {own}; choose the model that made it."
    )
