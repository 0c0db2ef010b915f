"""The standard normal distribution, where the obvious formula would lose every digit."""

import math

import torch
from torch import Tensor

SQRT_HALF = math.sqrt(0.5)


def log_interval_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """log(Phi(upper) - Phi(lower)) for a standard normal, lower < upper, either end possibly infinite.

    Intervals around 0 are a sum of two error functions. The others are mirrored to the right tail, where
    Phi(-x) = erfcx(x / sqrt 2) exp(-x^2 / 2) / 2 lets the exponential be taken out, so that neither the value nor the
    gradient underflows however far away the interval is.
    """
    mirrored = lower + upper < 0
    near = torch.where(mirrored, -upper, lower)
    far = torch.where(mirrored, -lower, upper)
    around_zero = near < 0
    unbounded = torch.isinf(far)

    # `where` passes NaN gradients of the branch not taken, so each branch sees arguments that are safe for it.
    near_around = torch.where(around_zero, near, -torch.ones_like(near))
    far_around = torch.where(around_zero & ~unbounded, far, torch.ones_like(far))
    upper_half = torch.where(unbounded, torch.ones_like(far), torch.erf(far_around * SQRT_HALF))
    around = torch.log(0.5 * (upper_half - torch.erf(near_around * SQRT_HALF)))

    near_tail = torch.where(around_zero, torch.zeros_like(near), near)
    far_tail = torch.where(around_zero | unbounded, near_tail + 1, far)
    decay = torch.exp(-0.5 * (far_tail - near_tail) * (far_tail + near_tail))
    beyond = torch.where(unbounded, torch.zeros_like(far), torch.special.erfcx(far_tail * SQRT_HALF) * decay)
    tail = torch.log(0.5 * (torch.special.erfcx(near_tail * SQRT_HALF) - beyond)) - 0.5 * near_tail**2
    return torch.where(around_zero, around, tail)
