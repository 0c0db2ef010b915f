"""What is minimised: L_simple (eq. 14), the bound itself (eqs. 5 and 12), and mixtures of the two.

A loss is called with a reverse process and returns one value an example; the caller weights and reduces.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from nelbo.diffusion.bound import VariationalBound
from nelbo.diffusion.reverse import ReverseProcess


class Loss(Protocol):
    """loss(reverse, x_0 (B, ...), t (B,), noise (B, ...), label) -> (B,)."""

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """One value an example, its expectation over uniform t and noise being the loss."""


class Weighting(Protocol):
    """A weight for each t, on the squared error of the noise."""

    def __call__(self, reverse: ReverseProcess, t: Tensor) -> Tensor:
        """(B,) weights."""


@dataclass(frozen=True)
class MinSNR:
    """min(SNR, gamma) on the squared error of x_0 (Hang et al. 2023), here for any parameterization's own target."""

    gamma: float = 5.0

    def __call__(self, reverse: ReverseProcess, t: Tensor) -> Tensor:
        """min(SNR, gamma) divided by how much one unit of x_0's squared error weighs in the target's."""
        s = reverse.schedule
        snr = s.snr.to(t.device)[t]
        per_x_0 = {
            "data": torch.ones_like(snr),
            "noise": snr,
            "grid": snr,
            "velocity": snr + 1,
            "mean": s.posterior_x_0.to(t.device)[t] ** 2,
        }[reverse.parameterization.name]
        return (snr.clamp(max=self.gamma) / per_x_0).float()


@dataclass(frozen=True)
class SimpleLoss:
    """Eq. 14, L_simple: the squared error of the network's output against its target, averaged over the dimensions.

    For `NoisePrediction` this is the paper's ||noise - noise_theta||^2, divided by the number of dimensions.
    """

    weighting: Weighting | None = None

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """(B,) mean squared error an example."""
        x_t = reverse.forward_process.sample(x_0, t, noise)
        output, _ = reverse.output(x_t, t, label)
        return self.of_output(reverse, output, x_0, x_t, t, noise)

    def of_output(
        self, reverse: ReverseProcess, output: Tensor, x_0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor
    ) -> Tensor:
        """The same from an output already computed."""
        target = reverse.parameterization.target(reverse.schedule, x_0, noise, x_t, t)
        error = ((output - target) ** 2).flatten(1).mean(1)
        return error if self.weighting is None else self.weighting(reverse, t) * error


@dataclass(frozen=True)
class VariationalLoss:
    """The bound itself, nats a dimension: L_T + T L_{t-1} for t uniform on 1..T, an unbiased draw of eq. 5.

    With a fixed variance this is eq. 12 with its weights, eq. 13 at t = 1, and its constants.
    """

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """(B,) an estimate of L an example, nats a dimension."""
        bound = VariationalBound(reverse)
        nats = bound.prior(x_0) + reverse.schedule.num_steps * bound.step(x_0, t, noise, label)
        return nats / x_0[0].numel()


@dataclass(frozen=True)
class HybridLoss:
    """L_simple + weight * L, where L moves only the learned variance (Nichol & Dhariwal 2021, eq. 16).

    L_T, which no network changes, is left out. L is in nats a dimension; theirs is in bits.
    """

    weight: float = 0.001

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: Tensor | None = None
    ) -> Tensor:
        """(B,) the mixture; one call of the network."""
        x_t = reverse.forward_process.sample(x_0, t, noise)
        output, variance_output = reverse.output(x_t, t, label)
        simple = SimpleLoss().of_output(reverse, output, x_0, x_t, t, noise)
        prediction = reverse.read(output.detach(), variance_output, x_t, t)
        step = VariationalBound(reverse).step_of(prediction, x_0, x_t, t)
        return simple + self.weight * reverse.schedule.num_steps * step / x_0[0].numel()
