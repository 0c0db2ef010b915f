"""What a file is made of, part by part."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream, fewest_bytes
from nelbo.codec.chunks import KL_UNIT
from nelbo.codec.codec import ProgressiveCodec
from nelbo.codec.range_coder import Exhausted
from nelbo.codec.receiver import Receiver, look_at


@dataclass(frozen=True)
class Segment:
    """A part of a file.

    Attributes:
        name: "header", "x_t" with the network's own t, "grid", or a pass of the pixels.
        start, end: its place in the file, bytes (the coder looks ahead up to 4).
        expected_bits: the KL that training images led to expect of it, or None.
        chunks: sent through the channel.
        rmse: of the picture after it, where the original is at hand.
    """

    name: str
    start: int
    end: int
    expected_bits: float | None = None
    chunks: int = 0
    rmse: float | None = None

    @property
    def bits(self) -> int:
        """What it takes."""
        return 8 * (self.end - self.start)


def rmse(image: Tensor, original: Tensor) -> float:
    """Root of the mean squared error of two uint8 images, on the scale of their levels."""
    return float((image.double() - original.double()).square().mean().sqrt())


@torch.no_grad()
def segments(codec: ProgressiveCodec, file: Bitstream, original: Tensor | None = None) -> list[Segment]:
    """The parts of a file, in order, as far as they can be read."""
    receiver = codec.receiver(file)
    plan, found, place = codec.chain.plan, [Segment("header", 0, file.overhead)], file.overhead
    try:
        while not receiver.done:
            if receiver.prediction is None:
                look_at(codec.chain, [receiver])
                continue
            expected, chunks, t = None, 0, receiver.t
            name = _name(receiver)
            receiver.read()
            if t > 1:
                look_at(codec.chain, [receiver])
                expected = plan.layout.total(t - 2) * KL_UNIT * len(receiver.x)
                chunks = receiver.chunks_read
            end = file.overhead + receiver.position
            error = None if original is None else rmse(receiver.picture(), original)
            found.append(Segment(name, place, end, expected, chunks, error))
            place = end
    except Exhausted:
        pass
    return found


def _name(receiver: Receiver) -> str:
    if receiver.t > 1:
        return f"x_{int(receiver.plan.steps[receiver.t - 2])}"
    return "grid" if receiver.center is None else f"x_0, pass {receiver.passes_done + 1}"


@torch.no_grad()
def cut_to_error(codec: ProgressiveCodec, file: Bitstream, original: Tensor, largest: float) -> Bitstream:
    """The shortest beginning of a lossless file at which its picture is within an RMSE of the original."""
    for picture in codec.stream([file.to_bytes()]):
        num_bytes = picture.bytes_used - len(file.pixel_hash or b"")
        if rmse(picture.image, original) <= largest and num_bytes > fewest_bytes(file.size):
            return file.cut(num_bytes)
    return file
