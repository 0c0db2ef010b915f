"""Heun's method for the probability-flow ODE dy / dsigma = eps, which the sampler and the likelihood share."""

from collections.abc import Callable

from torch import Tensor


def heun_slope(y: Tensor, here: Tensor, width: float | Tensor, there: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the mean of the slopes at both ends of a step (Karras et al. 2022, algorithm 1), of second order.

    Args:
        y: (B, ...) at the start of the step.
        here: (B, ...) the slope at the start.
        width: sigma at the end minus sigma at the start.
        there: returns the slope at the end of the step for a given y; it is called with the result of Euler's step.
    """
    return (here + there(y + width * here)) / 2
