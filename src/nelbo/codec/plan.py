"""What sender and receiver know of a model beyond its weights: the steps that are sent, their cuts, and all tables."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.codec.chunks import ChunkLayout
from nelbo.codec.pixels import IntegerNetwork, PixelOptions
from nelbo.codec.range_coder import table_of

BUCKETS = 40  # of the bit length of an index, about that of its chunk's KL
MIDDLE = 24  # the bucket of an index with as many bits as the chunk
SURPRISES = 32  # of a number of chunks against what was expected; the last one escapes
OFFSET_SHARE, OFFSET_UNIT = 0.2, 1 << 16


@dataclass(frozen=True, eq=False)
class CodecPlan:
    """Measured on training data (`nelbo.codec.fitting`), kept beside the weights, part of the fingerprint.

    Attributes:
        steps: (k + 1,) int64, the network's own times that are kept, rising; the last is T. The channel sends k steps,
            and x_0 is coded given x at steps[0].
        expected: (k, D) int64, see `ChunkLayout`; row j is the step that ends at steps[j].
        index_counts: (BUCKETS,) int64, how often an index had so many bits, against its chunk's.
        number_counts: (SURPRISES,) int64, how often the number of chunks was off by so much, 0, -1, 1, -2, ...
        pixels: the network of the lossless end.
    """

    steps: Tensor
    expected: Tensor
    index_counts: Tensor
    number_counts: Tensor
    pixels: IntegerNetwork

    @cached_property
    def layout(self) -> ChunkLayout:
        """How steps are cut into chunks."""
        return ChunkLayout(self.expected)

    def tensors(self) -> dict[str, Tensor]:
        """Everything as whole numbers of 32 bits, by name."""
        layers = {
            f"{kind}.{place}": value.long()
            for kind, values in (("weight", self.pixels.weights), ("bias", self.pixels.biases))
            for place, value in enumerate(values)
        }
        options = self.pixels.options
        named = {
            "steps": self.steps,
            "expected": self.expected,
            "index_counts": self.index_counts,
            "number_counts": self.number_counts,
            "pixels": torch.tensor([options.channels, options.hidden, options.levels]),
            **{f"pixels.{name}": value for name, value in layers.items()},
        }
        return {name: value.to(torch.int32) for name, value in named.items()}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "CodecPlan":
        """The inverse of `tensors`."""
        names = [f"pixels.weight.{place}" for place in range(sum(n.startswith("pixels.weight") for n in tensors))]
        options = PixelOptions(*tensors["pixels"].tolist())
        weights = [tensors[name].double() for name in names]
        biases = [tensors[name.replace("weight", "bias")].double() for name in names]
        plain = {name: tensors[name].long() for name in ("steps", "expected", "index_counts", "number_counts")}
        return cls(**plain, pixels=IntegerNetwork(options, weights, biases))

    def index_table(self, chunk_bits: int, log2_candidates: int) -> list[int]:
        """Of the bit length 0..log2_candidates of an index."""
        first = MIDDLE - chunk_bits
        return table_of(self.index_counts[first : first + log2_candidates + 1].tolist())

    def number_table(self) -> list[int]:
        """Of what `surprise` gives."""
        return table_of(self.number_counts.tolist())


def offset_table(offsets: int) -> list[int]:
    """Of the offset that protects a block, tried from 0 up; the last symbol says that none did."""
    return table_of([*(int(OFFSET_UNIT * OFFSET_SHARE**i) for i in range(offsets)), 1])


@dataclass
class Expectation:
    """What the receiver expects of the next step's number of chunks: the ratio so far holds on. In whole numbers."""

    chunks: int = 1
    units: int = 1

    def of(self, units: int, chunk_units: int) -> int:
        """Chunks of a step of so many expected units of KL, at so many a chunk; at least 1."""
        if self.units == 1:
            return max(1, -(-units // chunk_units))
        return max(1, (2 * units * self.chunks + self.units) // (2 * self.units))

    def add(self, chunks: int, units: int) -> None:
        """A step of so many expected units took so many chunks. What is long past counts less."""
        first = self.units == 1
        self.chunks = chunks if first else (self.chunks + 1) // 2 + chunks
        self.units = units if first else (self.units + 1) // 2 + units


def folded(surprise: int) -> int:
    """0, -1, 1, -2, 2, ... -> 0, 1, 2, 3, 4, ..."""
    return 2 * surprise if surprise >= 0 else -2 * surprise - 1


def unfolded(symbol: int) -> int:
    """The inverse of `folded`."""
    return symbol // 2 if symbol % 2 == 0 else -(symbol + 1) // 2
