"""The codec plan: which steps are sent, how they are cut into chunks, and the integer tables of a model."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.codec.chunks import ChunkLayout
from nelbo.codec.range_coder import table_of
from nelbo.display import Brief
from nelbo.errors import ConfigurationError, RunError
from nelbo.networks.pixel_options import PixelOptions
from nelbo.networks.pixels import IntegerNetwork, weight_shapes

BUCKETS = 40  # bit lengths of an index, counted relative to the bits of its chunk
MIDDLE = 24  # the bucket of an index with as many bits as its chunk
SURPRISES = 32  # symbols for the number of chunks relative to its expectation
INTEGER = torch.int32  # of every stored tensor
REMEDY = "restore the plan from a copy, or measure it again with `nelbo codec --again`."


@dataclass(frozen=True, eq=False)
class CodecPlan(Brief):
    """The plan that sender and receiver share: `fit_plan` measures it on training data.

    It is stored beside the weights and is a part of the model's fingerprint.

    Attributes:
        steps: (k + 1,) int64, the network's own times that are kept, rising; the last is T. The channel sends k steps,
            and x_0 is encoded given x at steps[0].
        expected: (k, D) int64, see `ChunkLayout`; row j is the step that ends at steps[j].
        index_counts: (BUCKETS,) int64, how often an index had each bit length, relative to the bits of its chunk.
        number_counts: (SURPRISES,) int64, how often the number of chunks differed from its expectation by 0, -1, 1,
            -2, ...; the last symbol is the escape.
        pixels: the network of the lossless end.
    """

    steps: Tensor
    expected: Tensor
    index_counts: Tensor
    number_counts: Tensor
    pixels: IntegerNetwork

    @cached_property
    def layout(self) -> ChunkLayout:
        """How each step is cut into chunks."""
        return ChunkLayout(self.expected)

    def tensors(self) -> dict[str, Tensor]:
        """Return the plan as int32 tensors by name."""
        options = self.pixels.options
        named = {
            "steps": self.steps,
            "expected": self.expected,
            "index_counts": self.index_counts,
            "number_counts": self.number_counts,
            "pixels": torch.tensor(_sizes(options)),
        }
        named |= {_name("weight", layer): weight for layer, weight in enumerate(self.pixels.weights)}
        named |= {_name("bias", layer): bias for layer, bias in enumerate(self.pixels.biases)}
        return {name: value.to(INTEGER) for name, value in named.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "CodecPlan":
        """Build the plan from the output of `tensors`.

        Raises:
            RunError: a tensor is missing, or has an unexpected shape, dtype or value; the message names it.
        """
        steps = _checked(tensors, "steps", (None,))
        if len(steps) < 2 or int(steps[0]) < 1 or not bool((steps.diff() > 0).all()):
            raise RunError(f"the codec plan's tensor steps must rise from 1 or more, got {steps.tolist()}; {REMEDY}")
        expected = _checked(tensors, "expected", (len(steps) - 1, None))
        index_counts = _counts(tensors, "index_counts", BUCKETS)
        number_counts = _counts(tensors, "number_counts", SURPRISES)
        sizes = _checked(tensors, "pixels", (None,)).tolist()
        try:
            options = PixelOptions(*sizes)
        except (ConfigurationError, TypeError) as error:
            raise RunError(f"the codec plan's tensor pixels is {sizes}, which is no network; {REMEDY}") from error
        weights, biases = [], []
        for layer, shape in enumerate(weight_shapes(options)):
            weights.append(_checked(tensors, _name("weight", layer), shape).double())
            biases.append(_checked(tensors, _name("bias", layer), shape[:1]).double())
        return cls(steps, expected, index_counts, number_counts, IntegerNetwork(options, weights, biases))

    def check_model(self, shape: tuple[int, int, int], levels: int, num_steps: int) -> None:
        """Check that the plan fits a model of images (C, H, W) with K levels and a chain of T steps.

        Raises:
            RunError: it was measured for images of another size, channels or levels, or for another T.
        """
        options = self.pixels.options
        for what, planned, given in (
            ("values in an image", self.expected.shape[1], math.prod(shape)),
            ("channels", options.channels, shape[0]),
            ("levels", options.levels, levels),
            ("steps of the full chain", int(self.steps[-1]), num_steps),
        ):
            if planned != given:
                raise RunError(f"the codec plan is for {planned} {what}, but the model has {given}; {REMEDY}")

    def index_table(self, chunk_bits: int, log2_candidates: int) -> list[int]:
        """Return the table of the bit length, 0..log2_candidates, of an index."""
        first = MIDDLE - chunk_bits
        return table_of(self.index_counts[first : first + log2_candidates + 1].tolist())

    def number_table(self) -> list[int]:
        """Return the table of the number of chunks, relative to its expectation and folded."""
        return table_of(self.number_counts.tolist())


def _sizes(options: PixelOptions) -> list[int]:
    """Return the fields of the options; the last two only where they differ from their defaults, as in version 1."""
    sizes = list(astuple(options))
    return sizes if sizes[3:] != list(astuple(PixelOptions()))[3:] else sizes[:3]


def _name(kind: str, layer: int) -> str:
    return f"pixels.{kind}.{layer}"


def _checked(tensors: Mapping[str, Tensor], name: str, shape: tuple[int | None, ...]) -> Tensor:
    """Return a stored tensor as int64; None in `shape` allows any size."""
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


def _counts(tensors: Mapping[str, Tensor], name: str, num: int) -> Tensor:
    """Return stored counts (num,), all 0 or more."""
    found = _checked(tensors, name, (num,))
    if int(found.min()) < 0:
        raise RunError(f"the codec plan's tensor {name} has negative counts; {REMEDY}")
    return found
