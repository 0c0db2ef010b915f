"""The chain of reverse steps that sender and receiver run: what the versions of the format share.

The steps are counted as in Algorithms 3 and 4: x_t with t = k + 1 is known to every receiver, step t - 2 of the plan
sends x_{t-1} given x_t, and x_0 is encoded pixel by pixel given x_1. `nelbo.codec.float_chain` is the chain of version
1, and `nelbo.codec.lattice_chain` that of version 2. `nelbo.codec.masking_chain` has passes and no steps.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from nelbo.codec.channel import Target
from nelbo.codec.channel_plan import ChannelPlan
from nelbo.diffusion.passes import Pass
from nelbo.probability.logistic import LogisticMixture


class SharedChain(Protocol):
    """The steps of a model and the distributions of its pixels, the same for sender and receiver.

    Attributes:
        version: of the format.
        exact: whether all machines compute the same. Else sender and receiver round the evidence to a grid.
        plan: tables of the channel.
        levels: K.
        passes: of the pixels, in order.
        num_steps: k.
        batch_size: tiles in a call of the network.
    """

    version: int
    exact: bool
    levels: int
    passes: list[Pass]
    num_steps: int
    batch_size: int

    @property
    def plan(self) -> ChannelPlan: ...

    def beginning(self, num: int, shape: tuple[int, ...]) -> Tensor:
        """Return x_{k+1} (num, C, H, W), which is never sent."""
        ...

    def draw(self, tiles: Tensor, t: int, generator: torch.Generator) -> Tensor:
        """Draw x_t ~ q(x_t|x_0) of levels (B, C, H, W)."""
        ...

    def predictions(self, x: Tensor, t: int) -> Any:
        """Predict x_0 from tiles x_t (B, C, H, W), batch by batch."""
        ...

    def divided(self, prediction: Any, sizes: Sequence[int]) -> list[Any]:
        """Divide a prediction into those of `sizes` tiles each."""
        ...

    def target(self, prediction: Any, x: Tensor, t: int, tiles: Tensor) -> Target:
        """Return q(x_{t-1}|x_t, x_0) of levels (B, C, H, W) in units of p(x_{t-1}|x_t)."""
        ...

    def step(self, prediction: Any, x: Tensor, t: int, z: Tensor) -> Tensor:
        """Return x_{t-1}: the mean of p(x_{t-1}|x_t) plus z (B, C, H, W) of its standard deviations."""
        ...

    def picture(self, prediction: Any) -> Tensor:
        """Return the prediction of x_0 as levels (B, C, H, W) float64."""
        ...

    def evidence(self, prediction: Any, x_1: Tensor) -> Tensor:
        """Return what the pixel network reads at the first pass, (B, VC, H, W) in half levels.

        It is int64 if the chain is exact, and else float64, before it is rounded; see `nelbo.codec.grid`.
        """
        ...

    def renewed(self, center: Tensor, x_1: Tensor, x: Tensor, known: Tensor, now: Pass) -> Tensor:
        """Return what the pixel network reads at a pass, (B, VC, H, W) int64, given that of the pass before."""
        ...

    def mixture(
        self, center: Tensor, x: Tensor, known: Tensor, now: Pass, real: Tensor
    ) -> tuple[LogisticMixture, Tensor]:
        """Return the mixtures of the pixels of a pass, and where they are; see `nelbo.diffusion.mixture_of`."""
        ...

    def filled(self, center: Tensor, x: Tensor, known: Tensor, real: Tensor, remaining: Sequence[Pass]) -> Tensor:
        """Return levels (B, C, H, W) float64 for a preview: x where it is known, and means elsewhere.

        Args:
            remaining: the passes with unknown pixels; each takes the means of the passes before it as known.
        """
        ...

    def name(self, step: int) -> str:
        """Return the name of what a step of the plan sends, with the model's own t."""
        ...


def means_filled(
    chain: SharedChain, center: Tensor, x: Tensor, known: Tensor, real: Tensor, remaining: Sequence[Pass]
) -> Tensor:
    """Do what `SharedChain.filled` does, pass by pass."""
    for each in remaining:
        mixture, chosen = chain.mixture(center, x, known, each, real & ~known)
        x = x.clone()
        x[chosen] = torch.from_numpy(mixture.expected().round()).long()
        known = known | chosen
    return x.double()
