"""The training losses: L_simple (eq. 14), the bound itself (eqs. 5 and 12), and a mixture of the two.

A loss is called with a reverse process and returns one value per example. The caller applies weights and takes means.
A name in a recipe becomes a loss in `LOSSES` (recipes/assembly.py). Register a new loss there.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

from torch import Tensor

from nelbo.condition import ConditionLike, observed_of
from nelbo.diffusion.bound import VariationalBound, mean_dims, num_dims
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.objective import NATS


class Loss(Protocol):
    """A training loss of a reverse process, one value per example.

    A class attribute `unit`, if there is one, names the unit in reports.

    Examples:
        The absolute error of the network's output in place of the squared error of eq. 14:

        >>> import torch
        >>> from nelbo.diffusion import NoiseSchedule, ReverseProcess
        >>> class AbsoluteLoss:
        ...     def __call__(self, reverse, x_0, t, noise, label=None):
        ...         x_t = reverse.forward_process.sample(x_0, t, noise)
        ...         output, _ = reverse.output(x_t, t, label)
        ...         target = reverse.parameterization.target(reverse.schedule, x_0, noise, x_t, t)
        ...         return (output - target).abs().flatten(1).mean(1)
        >>> reverse = ReverseProcess(lambda x_t, t: torch.zeros_like(x_t), NoiseSchedule.linear())
        >>> x_0, noise = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
        >>> AbsoluteLoss()(reverse, x_0, torch.tensor([1, 1000]), noise)
        tensor([1., 1.])
    """

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: ConditionLike | None = None
    ) -> Tensor:
        """Return (B,) values whose expectation over uniform t and over the noise is the loss.

        Args:
            reverse: p_theta, with the network to train.
            x_0: (B, ...) data on the K levels.
            t: (B,) int64 within 1..T.
            noise: (B, ...) from N(0, I).
            label: (B,) int64, a condition, or None. A mean over the dimensions of an example is over the observed ones.
        """


class Weighting(Protocol):
    """A weight for each t on the squared error of the network's output."""

    def __call__(self, reverse: ReverseProcess, t: Tensor) -> Tensor:
        """Return the weights (B,) at t (B,)."""


@dataclass(frozen=True)
class MinSNR:
    """The weight min(SNR, gamma) on the squared error of x_0 (Hang et al. 2023), for every parameterization.

    The loss is the squared error of the network's output, so the weight is divided by
    `Parameterization.x_0_weight`.
    """

    gamma: float = 5.0

    def __call__(self, reverse: ReverseProcess, t: Tensor) -> Tensor:
        """Return min(SNR_t, gamma) / x_0_weight_t as float32 (B,)."""
        snr = reverse.schedule.snr.to(t.device)[t]
        per_x_0 = reverse.parameterization.x_0_weight(reverse.schedule, t)
        return (snr.clamp(max=self.gamma) / per_x_0).float()


@dataclass(frozen=True)
class SigmoidWeight:
    """The weight sigmoid(bias - log SNR) on the squared error of the noise, for every parameterization.

    The weight rises with the noise, so on a schedule that is even in log SNR the loss is an average of bounds on noisy
    data (Kingma & Gao 2023). A large bias gives the weight of the bound itself, without L_0.

    Attributes:
        bias: the log SNR at which the weight is 1/2.
    """

    bias: float = 0.0

    def __call__(self, reverse: ReverseProcess, t: Tensor) -> Tensor:
        """Return sigmoid(bias - log SNR_t) SNR_t / x_0_weight_t as float32 (B,)."""
        schedule = reverse.schedule
        per_noise = reverse.parameterization.x_0_weight(schedule, t) / schedule.snr.to(t.device)[t]
        return ((self.bias - schedule.log_snr.to(t.device)[t]).sigmoid() / per_noise).float()


@dataclass(frozen=True)
class SimpleLoss:
    """L_simple (eq. 14): the squared error of the network's output against its target, averaged over the dimensions.

    For `NoisePrediction` it is the paper's ||noise - noise_theta||^2, divided by the number of dimensions.
    """

    unit: ClassVar[str] = "squared error"

    weighting: Weighting | None = None

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: ConditionLike | None = None
    ) -> Tensor:
        """Return the mean squared error of each example (eq. 14), (B,)."""
        x_t = reverse.forward_process.sample(x_0, t, noise)
        output, _ = reverse.output(x_t, t, label)
        return self.of_output(reverse, output, x_0, x_t, t, noise, observed_of(label))

    def of_output(
        self,
        reverse: ReverseProcess,
        output: Tensor,
        x_0: Tensor,
        x_t: Tensor,
        t: Tensor,
        noise: Tensor,
        observed: Tensor | None = None,
    ) -> Tensor:
        """Return what the loss itself returns, from an output that was already computed at x_t."""
        target = reverse.parameterization.target(reverse.schedule, x_0, noise, x_t, t)
        error = mean_dims((output - target) ** 2, observed)
        return error if self.weighting is None else self.weighting(reverse, t) * error


@dataclass(frozen=True)
class VariationalLoss:
    """The bound itself, nats per dimension: L_T + T L_{t-1} with t uniform on 1..T, an unbiased draw of eq. 5.

    With a fixed variance, L_{t-1} is eq. 12 with its weight, plus the constant C of eq. 8; at t = 1 it is -log of
    eq. 13.
    """

    unit: ClassVar[str] = NATS

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: ConditionLike | None = None
    ) -> Tensor:
        """Return an estimate of L of each example (eqs. 5 and 12), (B,) nats per dimension."""
        bound = VariationalBound(reverse)
        nats = bound.prior(x_0, label) + reverse.schedule.num_steps * bound.step(x_0, t, noise, label)
        return _per_dim(nats, x_0, label)


@dataclass(frozen=True)
class HybridLoss:
    """L_simple + weight * L, where L trains only the learned variance (Nichol & Dhariwal 2021, eq. 16).

    L_T is left out, because no network changes it. L is in nats per dimension; in their code it is in bits.
    """

    weight: float = 0.001

    def __call__(
        self, reverse: ReverseProcess, x_0: Tensor, t: Tensor, noise: Tensor, label: ConditionLike | None = None
    ) -> Tensor:
        """Return the mixture for each example, (B,). The network is called once."""
        x_t = reverse.forward_process.sample(x_0, t, noise)
        output, variance_output = reverse.output(x_t, t, label)
        simple = SimpleLoss().of_output(reverse, output, x_0, x_t, t, noise, observed_of(label))
        prediction = reverse.read(output.detach(), variance_output, x_t, t, label)
        step = VariationalBound(reverse).step_of(prediction, x_0, x_t, t)
        return simple + _per_dim(self.weight * reverse.schedule.num_steps * step, x_0, label)


def _per_dim(nats: Tensor, x_0: Tensor, label: ConditionLike | None) -> Tensor:
    """Return nats of examples (B,) per observed dimension of x_0."""
    return (nats / num_dims(x_0, observed_of(label))).to(nats.dtype)
