"""The standard normal distribution, in formulas that keep their digits in the tails."""

import math

import torch
from torch import Tensor

SQRT_HALF = math.sqrt(0.5)


def log_interval_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """Return log(Phi(upper) - Phi(lower)) of a standard normal for lower < upper; either end can be infinite.

    The mass of an interval around 0 is a difference of two error functions. Other intervals are mirrored to the right
    tail. There, Phi(-x) = erfcx(x / sqrt 2) exp(-x^2 / 2) / 2, and the exponential is factored out, so neither the
    value nor the gradient underflows, at any distance from 0.
    """
    mirrored = lower + upper < 0
    near = torch.where(mirrored, -upper, lower)
    far = torch.where(mirrored, -lower, upper)
    around_zero = near < 0
    unbounded = torch.isinf(far)

    # `where` propagates NaN gradients of the branch that is not selected, so each branch gets arguments safe for it.
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
