"""Which pixels of a step travel together: cuts of nearly equal expected KL, by stored integers alone."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.codec.candidates import scan_order

KL_UNIT = 2**-8  # bits, of the stored tables


@dataclass(frozen=True, eq=False)
class ChunkLayout:
    """Cuts of the dimensions of an image, taken in the order of `scan_order`.

    Attributes:
        expected: (steps, D) int64, the KL of each dimension at each step on training data, in units of 1/256 bit.
    """

    expected: Tensor

    @cached_property
    def order(self) -> Tensor:
        """(D,) the dimension that stands at each place of the scan."""
        return torch.from_numpy(scan_order(self.expected.shape[1]))

    @cached_property
    def _before(self) -> Tensor:
        """(steps, D) what is expected of the dimensions before each place of the scan; each counts at least 1 unit."""
        scanned = self.expected[:, self.order].clamp(min=1)
        return scanned.cumsum(1) - scanned

    def total(self, step: int) -> int:
        """What is expected of the whole step, in units of 1/256 bit; at least one a dimension."""
        return int(self.expected[step].clamp(min=1).sum())

    def cuts(self, step: int, num_chunks: int) -> list[int]:
        """Places 0 = cuts[0] <= ... <= cuts[n] = D: chunk c is the scan from cuts[c] up to cuts[c + 1]."""
        chunk = self._before[step] * num_chunks // self.total(step)
        bounds = torch.arange(1, num_chunks, dtype=chunk.dtype)
        return [0, *torch.searchsorted(chunk, bounds).tolist(), self.expected.shape[1]]
