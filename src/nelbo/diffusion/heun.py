"""Heun's method on the probability-flow ODE, dy / dsigma = eps: the step that the sampler and the likelihood share."""

from collections.abc import Callable

from torch import Tensor


def heun_slope(y: Tensor, here: Tensor, width: float | Tensor, there: Callable[[Tensor], Tensor]) -> Tensor:
    """The mean of the slopes at both ends of a step (Karras et al. 2022, algorithm 1): second order.

    Args:
        y: (B, ...) where the step begins.
        here: the slope at y.
        width: sigma at the end less sigma at the beginning.
        there: the slope at the step's end, of the place to which Euler's step would lead.
    """
    return (here + there(y + width * here)) / 2
