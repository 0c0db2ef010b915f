"""Training of the pixel network of p_theta(x_0|x_1) on a finished diffusion network: L_0 of random passes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.diffusion.passes import passes, walk
from nelbo.diffusion.pixel_decoder import evidence, features, log2_masses, on_grid, top_place
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.networks.pixel_options import PixelOptions
from nelbo.objective import Draws, Losses
from nelbo.probability import levels_to_data

LATER = 0.05  # weight of unknown pixels of later passes in the loss


@dataclass
class PixelObjective:
    """L_0, nats per dimension, estimated from `draws` random passes of each image.

    Attributes:
        reverse: p_theta whose network gives xhat_0; it is not trained.
        options: of the pixel network.
        draws: passes of each image, which share one call of the diffusion network.
    """

    reverse: ReverseProcess
    options: PixelOptions
    draws: int = 4

    def to(self, device: torch.device) -> None:
        """Move the tables of the schedule to a device."""
        self.reverse = replace(self.reverse, schedule=self.reverse.schedule.to(device))

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw the noise of x_1, the passes, and the place of the grid on which xhat_0 is rounded.

        Returns:
            "noise" (num, *shape), "number" (num, draws) int64 and "offset" (num, draws) within [0, 1).
        """
        number = len(passes(shape[0], self.options.side))
        return {
            "noise": torch.randn(num, *shape, generator=generator),
            "number": torch.randint(number, (num, self.draws), generator=generator),
            "offset": torch.rand(num, self.draws, generator=generator),
        }

    def __call__(self, network: Callable[..., Tensor], images: Tensor, labels: Tensor | None, draws: Draws) -> Losses:
        """Return the estimate of L_0 of each image (B,), nats per dimension; no class is used."""
        levels, shape = self.options.levels, tuple(images.shape[1:])
        masks = list(walk(shape, self.options.side))
        known, new = (torch.stack([mask[part] for mask in masks]).to(images.device) for part in (0, 1))
        number = draws["number"].flatten()
        x = images.long().repeat_interleave(self.draws, 0)
        values = on_grid(self._evidence(images, draws["noise"]), levels).repeat_interleave(self.draws, 0)
        center = (values + draws["offset"].flatten().view(-1, 1, 1, 1)).floor().clamp(0, top_place(levels)).long()
        output = network(features(center, x, known[number], levels).float())
        nats = -math.log(2) * log2_masses(output, center.float(), x.float(), levels)
        now, later = new[number], ~(known | new)[number]
        sizes = now.flatten(1).sum(1)
        loss = ((nats * now).flatten(1).sum(1) / sizes).unflatten(0, (-1, self.draws)).mean(1)
        spread = ((nats * later).flatten(1).sum(1) / sizes).unflatten(0, (-1, self.draws)).mean(1)
        return Losses(loss + LATER * spread, loss.detach())

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Do nothing: the passes are drawn evenly."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the objective has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""

    @torch.no_grad()
    def _evidence(self, images: Tensor, noise: Tensor) -> Tensor:
        """Return the evidence (B, VC, H, W) of a draw of x_1."""
        x_0 = levels_to_data(images, self.options.levels)
        t = torch.ones(len(x_0), dtype=torch.int64, device=x_0.device)
        x_1 = self.reverse.forward_process.sample(x_0, t, noise)
        xhat_0 = self.reverse.predict(x_1, t).x_0
        return evidence(self.options, xhat_0, x_1, float(self.reverse.schedule.signal[1]))
