"""The chain of version 2 of the format: an integer chain, exact on every machine."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nelbo.codec.candidates import UNIT
from nelbo.codec.chain import means_filled
from nelbo.codec.channel import Target
from nelbo.codec.channel_plan import ChannelPlan
from nelbo.codec.version import INTEGER_FORMAT
from nelbo.diffusion.passes import Pass, passes
from nelbo.lattice import Estimate, LatticeModel, centred
from nelbo.lattice.model import evidence_of
from nelbo.networks.integers import exact_float32
from nelbo.probability.integer_gaussian import MEAN_PARTS, IntegerGaussian
from nelbo.probability.logistic import LogisticMixture


class LatticeChain:
    """All steps of an integer chain: y_k by its prior, then each y_{t-1} given y_t.

    It satisfies `nelbo.codec.chain.SharedChain`; x_t is y_t, int64.

    Args:
        model: the integer chain and its pixel network.
        plan: tables of the channel.
        batch_size: tiles in a call of the network.

    Raises:
        CodecError: the arithmetic of this machine is not exact, so that its files could not be read elsewhere.
    """

    version, exact = INTEGER_FORMAT, True

    def __init__(self, model: LatticeModel, plan: ChannelPlan, batch_size: int) -> None:
        model.require_exact()
        self.model, self.plan, self.batch_size = model, plan, batch_size
        self.levels = model.chain.linear.levels
        self.passes = passes(model.pixels.options.channels, model.pixels.options.side)
        self.num_steps = model.chain.steps

    def beginning(self, num: int, shape: tuple[int, ...]) -> Tensor:
        """Return zeros (num, C, H, W): the prior of y_k depends on nothing."""
        return torch.zeros(num, *shape, dtype=torch.int64)

    def draw(self, tiles: Tensor, t: int, generator: torch.Generator) -> Tensor:
        """Draw y_t ~ q(y_t|x_0) of levels (B, C, H, W); zeros at t = k + 1."""
        x_0 = centred(tiles, self.levels)
        return torch.zeros_like(x_0) if t > self.num_steps else self.model.chain.linear.drawn(x_0, t, generator)

    @torch.no_grad()
    @exact_float32()
    def predictions(self, x: Tensor, t: int) -> Estimate:
        """Estimate x_0 from tiles y_t (B, C, H, W), batch by batch; at t = k + 1, it is the mean of the data."""
        linear = self.model.chain.linear
        if t > self.num_steps:
            shape = (len(x), *linear.mean.shape)
            return Estimate(linear.mean.expand(shape), linear.prior_scale.expand(shape))
        parts = [self.model.chain.estimate(some, t) for some in x.split(self.batch_size)]
        return Estimate(torch.cat([p.x_0 for p in parts]), torch.cat([p.scale for p in parts]))

    def divided(self, prediction: Estimate, sizes: Sequence[int]) -> list[Estimate]:
        """Divide an estimate into those of `sizes` tiles each."""
        parts = zip(prediction.x_0.split(list(sizes)), prediction.scale.split(list(sizes)), strict=True)
        return [Estimate(x_0, scale) for x_0, scale in parts]

    def _transition(self, prediction: Estimate, x: Tensor, t: int) -> IntegerGaussian:
        """Return p(y_{t-1}|y_t), or p(y_k) at t = k + 1."""
        chain = self.model.chain
        return chain.prior(len(x)) if t > self.num_steps else chain.previous(x, t, prediction)

    def target(self, prediction: Estimate, x: Tensor, t: int, tiles: Tensor) -> Target:
        """Return q(y_{t-1}|y_t, x_0) of levels (B, C, H, W), or q(y_k|x_0), in units of p."""
        p, x_0 = self._transition(prediction, x, t), centred(tiles, self.levels)
        q = self.model.chain.posterior(x_0, x, t)
        shape = (len(x), -1)
        shift = torch.from_numpy((q.mean / MEAN_PARTS - p.mean / MEAN_PARTS) / p.deviation).float().view(shape)
        return Target(shift, torch.from_numpy(q.deviation / p.deviation).float().view(shape))

    def step(self, prediction: Estimate, x: Tensor, t: int, z: Tensor) -> Tensor:
        """Return y_{t-1}: the integer at z (B, C, H, W) standard deviations from the mean of p(y_{t-1}|y_t)."""
        parts: NDArray[np.int64] = (z.double() / UNIT).round().long().reshape(-1).numpy()
        return torch.from_numpy(self._transition(prediction, x, t).at(parts)).view(x.shape)

    def picture(self, prediction: Estimate) -> Tensor:
        """Return the estimate of x_0 as levels (B, C, H, W) float64, rounded down."""
        return (prediction.x_0 + self.levels - 1).div(2, rounding_mode="floor").double()

    def evidence(self, prediction: Estimate, x_1: Tensor) -> Tensor:
        """Return what the pixel network reads at the first pass, (B, 2C, H, W) int64 in half levels."""
        return evidence_of(self.model.chain, prediction, x_1)

    @torch.no_grad()
    @exact_float32()
    def renewed(self, center: Tensor, x_1: Tensor, x: Tensor, known: Tensor, now: Pass) -> Tensor:
        """Return what the pixel network reads at a pass, given that of the pass before."""
        return self.model.renewed(center, x_1, x, known, now)

    @exact_float32()
    def mixture(
        self, center: Tensor, x: Tensor, known: Tensor, now: Pass, real: Tensor
    ) -> tuple[LogisticMixture, Tensor]:
        """Return the mixtures of the pixels of a pass, and where they are; see `nelbo.diffusion.mixture_of`."""
        return self.model.mixture(center, x, known, now, real)

    def filled(self, center: Tensor, x: Tensor, known: Tensor, real: Tensor, remaining: Sequence[Pass]) -> Tensor:
        """Return levels for a preview; see `SharedChain.filled`. x_0 is not estimated again."""
        return means_filled(self, center, x, known, real, remaining)

    def name(self, step: int) -> str:
        """Return the name of what a step of the plan sends."""
        return f"x_{step + 1}"
