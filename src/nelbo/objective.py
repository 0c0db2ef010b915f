"""What can be trained: an objective turns a batch, and random numbers drawn beforehand, into one loss per example."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from nelbo.condition import ConditionLike

NATS = "nats/dim"

Draws = dict[str, Tensor]
"""The random numbers of a batch by name, each tensor with one row per example."""


@dataclass(frozen=True)
class Losses:
    """The losses of one batch.

    Attributes:
        weighted: (B,) the losses whose mean is differentiated.
        loss: (B,) detached, the losses before their importance weights, for reports and for `Objective.learn`.
        position: (B,) in [0, 1), where in the objective each example lies: (t - 1) / T for diffusion. None if the
            objective has only one place.
        terms: further (B,) values to report, by name, in the unit of the loss.
        unit: unit of the loss, or "" if it has none. Reports convert "nats/dim" to bits/dim.
    """

    weighted: Tensor
    loss: Tensor
    position: Tensor | None = None
    terms: dict[str, Tensor] = field(default_factory=dict)
    unit: str = ""


class Objective(Protocol):
    """What `nelbo.training.Trainer` minimises: `nelbo.diffusion.DiffusionObjective`, `nelbo.vae.VAEObjective`.

    The random numbers of a global batch are drawn at once, on the CPU, and sliced for each process and micro-batch.
    So the draws of a training step depend only on the seed and the number of the step.

    Examples:
        An objective that restores images from Gaussian noise of one strength:

        >>> import torch
        >>> from nelbo.objective import Losses
        >>> from nelbo.probability import levels_to_data
        >>> class Denoising:
        ...     def to(self, device):
        ...         pass
        ...
        ...     def draw(self, num, shape, generator):
        ...         return {"noise": torch.randn(num, *shape, generator=generator)}
        ...
        ...     def __call__(self, network, images, labels, draws):
        ...         x_0 = levels_to_data(images, 256)
        ...         loss = (network(x_0 + 0.5 * draws["noise"]) - x_0).square().flatten(1).mean(1)
        ...         return Losses(loss, loss.detach())
        ...
        ...     def learn(self, draws, loss):
        ...         pass
        ...
        ...     def state_dict(self):
        ...         return {}
        ...
        ...     def load_state_dict(self, state):
        ...         pass
        >>> objective, images = Denoising(), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
        >>> draws = objective.draw(2, (1, 8, 8), torch.Generator().manual_seed(0))
        >>> objective(torch.nn.Identity(), images, None, draws).weighted.shape
        torch.Size([2])
    """

    def to(self, device: torch.device) -> None:
        """Move the tensors that the losses need to a device."""

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw all random numbers for `num` examples of `shape` (C, H, W), on the CPU.

        Returns:
            Tensors whose first dimension is `num`.
        """

    def __call__(
        self, network: Callable[..., Any], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            network: the network to train.
            images: (B, C, H, W) uint8.
            labels: (B,) int64, a `Condition` if the images have more than labels, or None.
            draws: the rows of these examples of what `draw` returned.
        """

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Adapt to the losses (num,), before weights, of a whole global batch."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state that a resumed training run needs to continue exactly as an unbroken one."""

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
