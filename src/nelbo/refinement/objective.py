"""Training of the digit network: -log p of the digits that a few passes make known."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from nelbo.condition import ConditionLike, observed_of
from nelbo.diffusion import num_dims, sum_dims
from nelbo.diffusion.passes import known_before, passes
from nelbo.objective import NATS, Draws, Losses
from nelbo.refinement.context import SIDE, numbers
from nelbo.refinement.model import step_of
from nelbo.refinement.split import LevelSplit


@dataclass
class RefinementObjective:
    """-log p(x_0 | coarse levels), nats per dimension, estimated from one pass of each digit.

    Attributes:
        split: of the K levels.
    """

    split: LevelSplit

    def to(self, device: torch.device) -> None:
        """Do nothing: the objective has no tensors."""

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw the pass of each digit, the same for all examples: "first" (num,) within [0, 1)."""
        return {"first": torch.rand(1, generator=generator).expand(num)}

    def __call__(
        self, network: Callable[..., Tensor], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the estimate for images (B, C, H, W) of K levels; no class is used."""
        shape, seen = images.shape[1:], observed_of(labels)
        seen = None if seen is None else seen.expand_as(images)
        order = [now for now in passes(shape[0], SIDE) if now.of(images).numel()]
        place = int(float(draws["first"][0]) * len(order))
        nats = torch.zeros(len(images), device=images.device)
        for stage, bits in enumerate(self.split.digits):
            now = order[(place + stage) % len(order)]  # another pass for each digit
            known = known_before(order, order.index(now), tuple(shape)).to(images.device)
            context = numbers(self.split, images, known, stage, now, seen).flatten(0, 2)
            logits = network(context, step_of(stage, now, shape[0]))[:, : 1 << bits]
            digits = self.split.digit(now.of(images).long(), stage)
            each = F.cross_entropy(logits, digits.flatten(), reduction="none").view(digits.shape)
            nats = nats + sum_dims(each, None if seen is None else now.of(seen)) * len(order)
        nats = nats / num_dims(images, seen)
        return Losses(nats.float(), nats.detach().float(), unit=NATS)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Do nothing: the passes are drawn evenly."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the objective has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""
