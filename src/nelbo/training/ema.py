"""The moving average of the weights that is sampled, evaluated and shipped."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Weights = tuple[Tensor, ...] | list[Tensor]


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of `network`, one update an optimizer step.

    The decay warms up as min(decay, (1 + n) / (10 + n)) after n updates, so that the average is worth looking at from
    the first hundred steps on rather than after 1 / (1 - decay) of them.
    """
    return AveragedModel(network, multi_avg_fn=_warmed_up(decay), use_buffers=False)


def _warmed_up(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    @torch.no_grad()
    def update(average: Weights, current: Weights, num_averaged: Tensor | int) -> None:
        n = int(num_averaged)
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update
