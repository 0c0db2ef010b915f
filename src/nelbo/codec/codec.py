"""`ProgressiveCodec`: images in, files out, and back."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream, RawImage, hash_of
from nelbo.codec.plan import CodecPlan, Expectation
from nelbo.codec.progressive import (
    Chain,
    Progress,
    SentStep,
    chunk_bits,
    protect,
    send_steps,
    write_pixels,
    write_step,
)
from nelbo.codec.range_coder import Exhausted, RangeEncoder
from nelbo.codec.receiver import Receiver, look_at, receive
from nelbo.codec.tiling import Tiling
from nelbo.diffusion import ReverseProcess
from nelbo.errors import CodecError, ShapeError
from nelbo.probability import levels_to_data


@dataclass(frozen=True)
class Decoded:
    """What a file gave.

    Attributes:
        image: (C, H, W) uint8.
        status: "lossless" (every pixel, checked), "lossy" (all that the file holds), or "truncated" (what the bytes
            at hand tell; nothing of it could be checked), or "unverified".
        bytes_used: of the file, that the picture depends on.
    """

    image: Tensor
    status: str
    bytes_used: int


class ProgressiveCodec:
    """Algorithms 3 and 4 for one model.

    Args:
        reverse: p_theta over its full schedule, with the calibrated variance and xhat_0 clipped.
        plan: what was measured for it.
        fingerprint: at least 8 bytes that tell this model from any other.
        shape: (C, H, W) of the model's images.
        batch_size: tiles in a call of the network.
    """

    def __init__(
        self,
        reverse: ReverseProcess,
        plan: CodecPlan,
        fingerprint: bytes,
        shape: tuple[int, int, int],
        batch_size: int = 8,
    ) -> None:
        self.chain = Chain(reverse, plan, batch_size)
        self.fingerprint, self.shape = fingerprint, shape

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
        """Files of images (C, H, W) uint8 of any size; all of them go through the network together.

        Args:
            effort: 1..9, the size of a chunk: the larger, the fewer overheads and the more time.
            lossless: go on to the exact pixels.
            verify: decode each lossless file and compare.
            raw: store an image as it is where its lossless file is longer, or does not come back.

        Raises:
            ShapeError: an image of other channels or levels than the model's.
        """
        chunk_bits(effort)
        tilings = [self._tiling(image) for image in images]
        tiles = torch.cat([tiling.split(image) for tiling, image in zip(tilings, images, strict=True)])
        x_0 = levels_to_data(tiles, self.chain.reverse.levels, torch.float64).to(
            self.chain.reverse.schedule.alphas_bar.device
        )
        sent, x = send_steps(self.chain, x_0, effort, seed, progress)
        xhat_0 = self.chain.predictions(x, 1).x_0 if lossless else None
        files, first = [], 0
        for image, tiling in zip(images, tilings, strict=True):
            own = slice(first, first + tiling.num_tiles)
            first = own.stop
            message = self._message(sent, own, tiling, tiles[own], None if xhat_0 is None else xhat_0[own], effort)
            size = None if tuple(image.shape) == self.shape else (tiling.height, tiling.width)
            pixel_hash = hash_of(image) if lossless else None
            files.append(Bitstream(self.fingerprint, effort, size, pixel_hash, message, len(message)))
        if not (lossless and raw):
            return list(files)
        return self._safe(files, images, verify)

    def _message(
        self, sent: list[SentStep], own: slice, tiling: Tiling, tiles: Tensor, xhat_0: Tensor | None, effort: int
    ) -> bytes:
        """The message of one image, from what is said of its tiles."""
        encoder, plan = RangeEncoder(), self.chain.plan
        expected = [Expectation() for _ in tiles]
        for step, said in zip(range(self.chain.num_steps - 1, -1, -1), sent, strict=True):
            mine = SentStep(said.numbers[own], said.indices[own], said.kl_bits[own])
            write_step(encoder, plan, step, mine, expected, effort)
        if xhat_0 is not None:
            offsets, center = protect(self.chain, xhat_0)
            write_pixels(encoder, plan, offsets, center, tiles.long(), tiling.real())
        return encoder.finish()

    def _safe(self, files: list[Bitstream], images: Sequence[Tensor], verify: bool) -> list[Bitstream | RawImage]:
        """Each file, or the image as it is where the file is longer or does not come back."""
        back = self.decode(files, verify=False) if verify else None
        safe: list[Bitstream | RawImage] = []
        for i, (file, image) in enumerate(zip(files, images, strict=True)):
            raw = RawImage(image)
            exact = back is None or torch.equal(back[i].image, image)
            safe.append(file if exact and len(file.to_bytes()) <= len(raw.to_bytes()) else raw)
        return safe

    @torch.no_grad()
    def decode(
        self, files: Sequence[Bitstream | RawImage], *, verify: bool = True, progress: Progress | None = None
    ) -> list[Decoded]:
        """The images of files, all of them together through the network.

        Args:
            verify: check sums before and pixels after. Without, a damaged file gives what it may: "unverified".

        Raises:
            CodecError: a file of another model, damaged, or whose pixels do not come out as its hash says; or bytes,
                which `Bitstream.from_bytes` makes a file of.
        """
        for file in files:
            if not isinstance(file, Bitstream | RawImage):
                raise CodecError(
                    f"decode takes files and was given {type(file).__name__}; bytes become one by Bitstream.from_bytes."
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
        """Pictures of a file that arrives in pieces: one for each part that becomes known, each better than the last.

        Raises:
            CodecError: as `decode`, but damage can only be seen at the end: what comes before is not checked.
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
            receiver.decoder.feed(file.message[seen:], complete=not file.truncated)
            seen = len(file.message)
            yield from self._pictures(receiver, file)

    def _pictures(self, receiver: Receiver, file: Bitstream) -> Iterator[Decoded]:
        """Every picture that the bytes at hand allow."""
        try:
            while not receiver.done:
                if receiver.prediction is None:
                    look_at(self.chain, [receiver])
                else:
                    receiver.read()
                if receiver.prediction is not None:
                    yield self._decoded(file, receiver)
        except Exhausted:
            return

    def _tiling(self, image: Tensor) -> Tiling:
        if image.ndim != 3 or len(image) != self.shape[0]:
            kinds = {1: "grey", 3: "in colour"}
            given = tuple(image.shape)
            raise ShapeError(
                f"the image is {kinds.get(given[0], given)} ({given}), and the model's images are "
                f"{kinds.get(self.shape[0], self.shape)} ({self.shape}, C x H x W); choose a model of the same kind."
            )
        if int(image.max()) >= self.chain.reverse.levels:
            raise ShapeError(
                f"the image has a level of {int(image.max())}, and the model knows 0..{self.chain.reverse.levels - 1}."
            )
        return Tiling(int(image.shape[1]), int(image.shape[2]), self.shape)

    def receiver(self, file: Bitstream) -> Receiver:
        """What reads the message of a file."""
        height, width = file.size or self.shape[1:]
        tiling = Tiling(height, width, self.shape)
        lossless = file.pixel_hash is not None or file.prefix
        complete = not file.truncated and not file.prefix
        return Receiver(self.chain, tiling, file.effort, file.message, lossless=lossless, complete=complete)

    def _check(self, file: Bitstream, verify: bool = True) -> None:
        if self.fingerprint[: len(file.fingerprint)] != file.fingerprint[: len(self.fingerprint)]:
            raise CodecError(
                f"the file was made by the model {file.fingerprint.hex()}, and this is {self.fingerprint.hex()[:16]}."
            )
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
            raise CodecError(
                "the pixels do not come out as the file's hash says: this machine's arithmetic is too far from that of "
                "the one that made it, or the file is damaged."
            )
        return Decoded(image, "lossless", used)
