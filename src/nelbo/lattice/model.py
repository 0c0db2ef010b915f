"""p(x_0) of an integer chain with its pixel network: everything that archives and files need to code images."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion.passes import Pass, walk
from nelbo.diffusion.pixel_decoder import mixture_of, top_place
from nelbo.display import Brief
from nelbo.lattice.chain import Estimate, IntegerChain, Known, centred
from nelbo.networks.exact_pixels import ExactPixelNetwork
from nelbo.networks.integers import IntegerConv, require_exact
from nelbo.probability.logistic import LogisticMixture


@dataclass(frozen=True, eq=False)
class LatticeModel(Brief):
    """An integer chain y_k .. y_1, and p(x_0|y_1) pixel by pixel.

    Attributes:
        chain: p(y_k) and p(y_{t-1}|y_t).
        pixels: the pixel network, which reads xhat_0(y_1), y_1 and the pixels that are known.
    """

    chain: IntegerChain
    pixels: ExactPixelNetwork

    def layers(self) -> list[IntegerConv]:
        """Return all layers of both networks."""
        return [*self.chain.network.layers.values(), *self.pixels.layers]

    def require_exact(self) -> None:
        """Check that this machine computes the networks exactly; see `nelbo.networks.integers.require_exact`."""
        require_exact(self.layers())

    def passes(self, y: Tensor, x: Tensor, real: Tensor) -> Iterator[tuple[LogisticMixture, Tensor]]:
        """Yield the distributions of the pixels of each pass, given y_1 and all earlier passes, and where they are.

        Args:
            x: (B, C, H, W) int64 levels, of which all earlier passes must be known when a pass is asked for.
            real: (B, C, H, W) bool, the pixels of the image and not of its padding.
        """
        center = evidence(self.chain, y)
        for known, now in walk(tuple(x.shape[1:]), self.pixels.options.side):
            center = self.renewed(center, y, x, known & real, now)
            if now.of(x).numel():
                yield self.mixture(center, x, known & real, now, real)

    def renewed(self, center: Tensor, y: Tensor, x: Tensor, known: Tensor, now: Pass) -> Tensor:
        """Return what the pixel network knows at a pass, given that of the pass before: x_0 is estimated at each stage.

        Args:
            known: (B, C, H, W) bool, the pixels of the image in all earlier passes; x is ignored elsewhere.
        """
        if not now.begins_stage or now.stage == 0:
            return center
        return evidence(self.chain, y, Known(centred(x, self.chain.linear.levels), known, now.stage))

    def mixture(
        self, center: Tensor, x: Tensor, known: Tensor, now: Pass, real: Tensor
    ) -> tuple[LogisticMixture, Tensor]:
        """Return the mixtures of the pixels of a pass, and where they are; see `nelbo.diffusion.mixture_of`."""
        return mixture_of(self.pixels, center, x, known, now, real)


def evidence(chain: IntegerChain, y: Tensor, known: Known | None = None) -> Tensor:
    """Return what the pixel network knows from y_1 (B, C, H, W): xhat_0 and y_1, (B, 2C, H, W) int64 half levels."""
    return evidence_of(chain, chain.estimate(y, 1, known), y)


def evidence_of(chain: IntegerChain, estimate: Estimate, y: Tensor) -> Tensor:
    """Return the same, given the estimate from y_1."""
    linear = chain.linear
    seen = torch.cat([estimate.x_0, linear.value(y, 1)], 1) + linear.levels - 1
    return seen.clamp(0, top_place(linear.levels))
