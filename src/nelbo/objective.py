"""What can be trained: a batch becomes one loss an example, and everything random in it is drawn beforehand."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

Draws = dict[str, Tensor]


@dataclass(frozen=True)
class Losses:
    """One batch's outcome.

    Attributes:
        weighted: (B,) what is averaged and differentiated.
        loss: (B,) detached, the loss before its importance weight, for reports and for learning where to look.
        position: (B,) in [0, 1), where in the objective each example was taken (t / T for diffusion), or None where
            there is but one place.
        terms: further (B,) values to report, by name.
    """

    weighted: Tensor
    loss: Tensor
    position: Tensor | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)


class Objective(Protocol):
    """Diffusion losses and the VAE both are one."""

    def to(self, device: torch.device) -> None:
        """Move what the losses are computed with to a device."""

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Everything random for `num` examples of `shape`, each tensor with first dimension `num`, on the processor."""

    def __call__(self, network: Callable[..., Any], images: Tensor, labels: Tensor | None, draws: Draws) -> Losses:
        """The losses of uint8 images (B, C, H, W) with their slice of the draws."""

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Adapt to the per-example losses (before weights) of a whole global batch."""

    def state_dict(self) -> dict[str, Tensor]:
        """What must be saved for training to go on unchanged."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """The inverse of `state_dict`."""
