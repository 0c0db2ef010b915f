"""The exponential moving average of the weights, which is sampled, evaluated and saved as the model."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Weights = tuple[Tensor, ...] | list[Tensor]


def averaged(network: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of `network`, to update once per optimizer step.

    The decay of update n is min(decay, (1 + n) / (10 + n)). This warm-up makes the average useful after the first
    hundred steps instead of after 1 / (1 - decay) steps.
    """
    return AveragedModel(network, multi_avg_fn=_warmed_up(decay), use_buffers=False)


def _warmed_up(decay: float) -> Callable[[Weights, Weights, Tensor | int], None]:
    @torch.no_grad()
    def update(average: Weights, current: Weights, num_averaged: Tensor | int) -> None:
        n = int(num_averaged)
        torch._foreach_lerp_(average, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update
