"""The parts of a file."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from nelbo.codec.bitstream import Bitstream, fewest_bytes
from nelbo.codec.chunks import KL_UNIT
from nelbo.codec.codec import ProgressiveCodec
from nelbo.codec.receiver import Receiver, predict
from nelbo.codec.states import NeedsPass, NeedsPrediction, NeedsStep
from nelbo.errors import ShapeError, option


class SegmentKind(StrEnum):
    """What a part of a file holds."""

    HEADER = "header"
    STEP = "step"
    GRID = "grid"
    PASS = "pass"


@dataclass(frozen=True)
class Segment:
    """A part of a file.

    Attributes:
        kind: what it holds.
        name: "header", "x_t" with the network's own t, "grid", or "x_0, pass N" for a pass of pixels.
        start, end: its place in the file, bytes (the range coder reads up to 4 bytes ahead).
        expected_bits: its mean KL on training images, or None where the plan has none.
        chunks: number of chunks that the channel sent.
        rmse: of the picture after it, if the original is given.
    """

    kind: SegmentKind
    name: str
    start: int
    end: int
    expected_bits: float | None = None
    chunks: int = 0
    rmse: float | None = None

    @property
    def bits(self) -> int:
        """Its size in bits."""
        return 8 * (self.end - self.start)

    def to_json(self) -> dict[str, Any]:
        """Return the fields that `nelbo inspect` writes; the name determines the kind."""
        return {name: value for name, value in vars(self).items() if name != "kind"}


def rmse(image: Tensor, original: Tensor) -> float:
    """Return the root of the mean squared error of two uint8 images, in levels.

    Raises:
        ShapeError: the images differ in shape.
    """
    if image.shape != original.shape:
        raise ShapeError(
            f"the decoded image is {tuple(image.shape)} and the original {tuple(original.shape)} (C x H x W); they "
            f"cannot be compared; set {option('original')} to the image that was compressed."
        )
    return float((image.double() - original.double()).square().mean().sqrt())


@torch.no_grad()
def segments(codec: ProgressiveCodec, file: Bitstream, original: Tensor | None = None) -> list[Segment]:
    """Return the parts of a file in order, as far as they can be read.

    Args:
        original: the image (C, H, W) uint8 that the file was made of, to measure each part's `rmse`.
    """
    receiver, place = codec.receiver(file), file.overhead
    found = [Segment(SegmentKind.HEADER, "header", 0, place)]
    while not receiver.done:
        if receiver.needs_prediction:
            predict(codec.chain, [receiver])
            continue
        kind, name, expected_bits = _next_element(codec, receiver)
        if not receiver.read():
            break
        after, chunks = receiver.state, 0
        if isinstance(after, NeedsPrediction):
            chunks = after.chunks
            predict(codec.chain, [receiver])
        error = None if original is None else rmse(receiver.picture(), original)
        end = file.overhead + receiver.position
        found.append(Segment(kind, name, place, end, expected_bits, chunks, error))
        place = end
    return found


def _next_element(codec: ProgressiveCodec, receiver: Receiver) -> tuple[SegmentKind, str, float | None]:
    """Return the kind, the name and the expected bits of the element that the receiver reads next."""
    state = receiver.state
    if isinstance(state, NeedsStep):
        step = state.t - 2
        expected_bits = codec.chain.plan.layout.total(step) * KL_UNIT * len(state.x)
        return SegmentKind.STEP, codec.chain.name(step), expected_bits
    if isinstance(state, NeedsPass):
        return SegmentKind.PASS, f"x_0, pass {state.number + 1}", None
    return SegmentKind.GRID, "grid", None


@torch.no_grad()
def cut_to_error(codec: ProgressiveCodec, file: Bitstream, original: Tensor, largest: float) -> Bitstream:
    """Return the shortest beginning of a lossless file whose picture has an RMSE of at most `largest`, in levels.

    The picture of a beginning can be worse than that of the whole file at the same place, because it ends earlier than
    the sender ended it. So every picture is judged as a reader of the beginning sees it; the whole file is exact.
    """
    beginning = replace(file, pixel_hash=None, prefix=True, check=None)
    for picture in codec.stream([beginning.to_bytes()]):
        if rmse(picture.image, original) > largest or picture.bytes_used <= fewest_bytes(file.size):
            continue
        cut = file.cut(picture.bytes_used)
        if rmse(codec.decode([cut])[0].image, original) <= largest:
            return cut
    return file
