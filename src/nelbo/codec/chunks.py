"""Chunks: the dimensions of a step that share one index, cut at nearly equal expected KL by stored integers alone."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.codec.candidates import scan_order
from nelbo.errors import ConfigurationError, option
from nelbo.options import check_whole

KL_UNIT = 2**-8  # bits, of the stored tables
EFFORTS = range(1, 10)
BASE_BITS, SPARE_BITS = 7, 2  # a chunk of effort e holds 7 + e bits of KL, among 2^(9 + e) candidates


def chunk_bits(effort: int) -> int:
    """Return the KL that a chunk should hold, in bits.

    Raises:
        ConfigurationError: the effort is outside 1..9.
    """
    check_whole("effort", effort, None)
    if effort not in EFFORTS:
        raise ConfigurationError(f"{option('effort')} must be within 1..9, got {effort}.")
    return BASE_BITS + effort


def candidate_bits(effort: int) -> int:
    """Return the log2 of the number of candidates of a chunk."""
    return chunk_bits(effort) + SPARE_BITS


def chunk_units(effort: int) -> int:
    """Return the KL that a chunk should hold, in units of 1/256 bit."""
    return int(chunk_bits(effort) / KL_UNIT)


@dataclass(frozen=True, eq=False)
class ChunkLayout:
    """Chunks of an image's dimensions, which are taken in the order of `scan_order`.

    Attributes:
        expected: (steps, D) int64, the KL of each dimension at each step on training data, in units of 1/256 bit.
    """

    expected: Tensor

    @cached_property
    def order(self) -> Tensor:
        """(D,) int64, the dimension at each place of the scan."""
        return torch.from_numpy(scan_order(self.expected.shape[1]))

    @cached_property
    def _before(self) -> Tensor:
        """(steps, D) int64, the expected KL before each place of the scan; each dimension counts at least 1 unit."""
        scanned = self.expected[:, self.order].clamp(min=1)
        return scanned.cumsum(1) - scanned

    def total(self, step: int) -> int:
        """Return the expected KL of a step in units of 1/256 bit, at least 1 unit for each dimension."""
        return int(self.expected[step].clamp(min=1).sum())

    def cuts(self, step: int, num_chunks: int) -> list[int]:
        """Return places 0 = cuts[0] <= ... <= cuts[n] = D: chunk c is the scan from cuts[c] up to cuts[c + 1]."""
        chunk = self._before[step] * num_chunks // self.total(step)
        bounds = torch.arange(1, num_chunks, dtype=chunk.dtype)
        return [0, *torch.searchsorted(chunk, bounds).tolist(), self.expected.shape[1]]
