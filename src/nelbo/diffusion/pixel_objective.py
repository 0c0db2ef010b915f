"""Training of the pixel network of p_theta(x_0|x_1) on a finished diffusion network: L_0 of some passes a step."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.diffusion.passes import walk
from nelbo.diffusion.pixel_decoder import evidence, features, log2_masses, on_grid, top_place
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.networks.pixel_options import PixelOptions
from nelbo.objective import Draws, Losses
from nelbo.probability import levels_to_data


@dataclass
class PixelObjective:
    """L_0, nats per dimension, estimated from `draws` passes, evenly spaced from a random first one.

    Attributes:
        reverse: p_theta whose network gives xhat_0; it is not trained.
        options: of the pixel network.
        draws: passes of a step, which share one call of the diffusion network.
    """

    reverse: ReverseProcess
    options: PixelOptions
    draws: int = 4

    def to(self, device: torch.device) -> None:
        """Move the tables of the schedule to a device."""
        self.reverse = replace(self.reverse, schedule=self.reverse.schedule.to(device))

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw the noise of x_1, the place of the first pass, and the place of the grid on which xhat_0 is rounded.

        Returns:
            "noise" (num, *shape), "first" (num,) within [0, 1), the same for all images, and "offset" (num,) within
            [0, 1).
        """
        return {
            "noise": torch.randn(num, *shape, generator=generator),
            "first": torch.rand(1, generator=generator).expand(num),
            "offset": torch.rand(num, generator=generator),
        }

    def __call__(self, network: Callable[..., Tensor], images: Tensor, labels: Tensor | None, draws: Draws) -> Losses:
        """Return the estimate of L_0 of each image (B,), nats per dimension; no class is used."""
        levels, x = self.options.levels, images.long()
        values = on_grid(self._evidence(images, draws["noise"]), levels)
        center = (values + draws["offset"].view(-1, 1, 1, 1)).floor().clamp(0, top_place(levels)).long()
        whole = list(walk(tuple(images.shape[1:]), self.options.side))
        every = max(len(whole) // self.draws, 1)
        bits = [
            log2_masses(
                network(features(center, x, known.to(x.device), levels).float(), now),
                now.of(center).float(),
                now.of(x).float(),
                levels,
            )
            for known, now in whole[int(float(draws["first"][0]) * every) :: every]
        ]
        loss = -math.log(2) * torch.stack([each.flatten(1).mean(1) for each in bits]).mean(0)
        return Losses(loss, loss.detach())

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
