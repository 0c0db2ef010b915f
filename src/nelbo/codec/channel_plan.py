"""What a channel's sender and receiver share besides the chain: how steps are cut into chunks, and integer tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.codec.chunks import ChunkLayout
from nelbo.codec.range_coder import table_of
from nelbo.display import Brief
from nelbo.errors import RunError

BUCKETS = 40  # bit lengths of an index, counted relative to the bits of its chunk
MIDDLE = 24  # the bucket of an index with as many bits as its chunk
SURPRISES = 32  # symbols for the number of chunks relative to its expectation
INTEGER = torch.int32  # of every stored tensor
REMEDY = "restore the plan from a copy, or measure it again with `nelbo codec --again`."


@dataclass(frozen=True, eq=False, kw_only=True)
class ChannelPlan(Brief):
    """Tables of a channel, measured on training data.

    Attributes:
        expected: (k, D) int64, see `ChunkLayout`; row 0 is the last of the k steps that are sent.
        index_counts: (BUCKETS,) int64, how often an index had each bit length, relative to the bits of its chunk.
        number_counts: (SURPRISES,) int64, how often the number of chunks differed from its expectation by 0, -1, 1,
            -2, ...; the last symbol is the escape.
    """

    expected: Tensor
    index_counts: Tensor
    number_counts: Tensor

    @cached_property
    def layout(self) -> ChunkLayout:
        """How each step is cut into chunks."""
        return ChunkLayout(self.expected)

    def tensors(self) -> dict[str, Tensor]:
        """Return the plan as int32 tensors by name."""
        names = ("expected", "index_counts", "number_counts")
        return {name: getattr(self, name).to(INTEGER) for name in names}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "ChannelPlan":
        """Build the plan from the output of `tensors`.

        Raises:
            RunError: a tensor is missing, or has an unexpected shape, dtype or value; the message names it.
        """
        return ChannelPlan(
            expected=stored(tensors, "expected", (None, None)),
            index_counts=counts(tensors, "index_counts", BUCKETS),
            number_counts=counts(tensors, "number_counts", SURPRISES),
        )

    def index_table(self, chunk_bits: int, log2_candidates: int) -> list[int]:
        """Return the table of the bit length, 0..log2_candidates, of an index."""
        first = MIDDLE - chunk_bits
        return table_of(self.index_counts[first : first + log2_candidates + 1].tolist())

    def number_table(self) -> list[int]:
        """Return the table of the number of chunks, relative to its expectation and folded."""
        return table_of(self.number_counts.tolist())


def stored(tensors: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
    """Return a stored tensor as int64; None in `shape` allows any size.

    Raises:
        RunError: it is missing, or has another dtype or shape.
    """
    if name not in tensors:
        raise RunError(f"the codec plan has no tensor {name}; {REMEDY}")
    found = tensors[name]
    if found.dtype != INTEGER:
        raise RunError(f"the codec plan's tensor {name} is {found.dtype}, expected {INTEGER}; {REMEDY}")
    fits = found.ndim == len(shape) and all(want in (None, size) for want, size in zip(shape, found.shape, strict=True))
    if not fits or 0 in found.shape:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise RunError(
            f"the codec plan's tensor {name} has the shape {tuple(found.shape)}, expected ({wanted}); {REMEDY}"
        )
    return found.long()


def counts(tensors: Mapping[str, Tensor], name: str, num: int) -> Tensor:
    """Return stored counts (num,), all 0 or more.

    Raises:
        RunError: some are negative; or see `stored`.
    """
    found = stored(tensors, name, (num,))
    if int(found.min()) < 0:
        raise RunError(f"the codec plan's tensor {name} has negative counts; {REMEDY}")
    return found
