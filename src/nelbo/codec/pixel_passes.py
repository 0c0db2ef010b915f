"""The distributions of the pixels of a pass, which sender and receiver compute alike, for one image or many."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from nelbo.codec.chain import SharedChain
from nelbo.diffusion.passes import known_before
from nelbo.display import Brief
from nelbo.probability.logistic import LogisticMixture


@dataclass(frozen=True, eq=False)
class PixelPass(Brief):
    """What the networks know of the pixels of a pass, given all earlier passes.

    Attributes:
        center: (tiles, VC, H, W) int64, what the pixel network reads, in half levels.
        mixture: of the n pixels, in the order of `chosen`.
        chosen: (tiles, C, H, W) bool, where they are.
    """

    center: Tensor
    mixture: LogisticMixture
    chosen: Tensor

    @classmethod
    def of(cls, chain: SharedChain, number: int, center: Tensor, x_1: Tensor, x: Tensor, real: Tensor) -> "PixelPass":
        """Compute a pass, batch by batch.

        Args:
            number: of the pass, from 0.
            center: that of the pass before.
            x_1: (tiles, C, H, W).
            x: (tiles, C, H, W) int64 levels; those of this pass and later ones are ignored.
            real: (tiles, C, H, W) bool, the pixels of the image and not of its padding.
        """
        known, now = known_before(chain.passes, number, tuple(x.shape[1:])), chain.passes[number]
        centers, mixtures, chosen = list[Tensor](), list[LogisticMixture](), list[Tensor]()
        for start in range(0, len(x), chain.batch_size):
            own = slice(start, start + chain.batch_size)
            centers.append(chain.renewed(center[own], x_1[own], x[own], known & real[own], now))
            mixture, places = chain.mixture(centers[-1], x[own], known & real[own], now, real[own])
            mixtures.append(mixture)
            chosen.append(places)
        return cls(torch.cat(centers), LogisticMixture.joined(mixtures), torch.cat(chosen))

    def divided(self, sizes: Sequence[int]) -> "list[PixelPass]":
        """Divide it into those of `sizes` tiles each."""
        rows = self.chosen.flatten(1).sum(1).cumsum(0).tolist()
        ends = torch.tensor(sizes).cumsum(0).tolist()
        cuts = [0, *(rows[end - 1] for end in ends)]
        mixtures = [self.mixture[first:last] for first, last in pairwise(cuts)]
        parts = zip(self.center.split(list(sizes)), mixtures, self.chosen.split(list(sizes)), strict=True)
        return [PixelPass(*part) for part in parts]
