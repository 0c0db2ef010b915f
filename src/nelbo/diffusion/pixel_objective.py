"""Training of the pixel network of p_theta(x_0|x_1) on a finished diffusion network: L_0 of some passes a step."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike, hidden, observed_of
from nelbo.diffusion.passes import walk
from nelbo.diffusion.pixel_decoder import evidence, features, log2_masses, on_grid, top_place
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.networks.pixel_options import PixelOptions
from nelbo.objective import NATS, Draws, Losses
from nelbo.probability import levels_to_data

PARTS = 32  # steps of a half level in the evidence of an example
LARGEST = 2**15 - 1


@torch.no_grad()
def pixel_examples(
    reverse: ReverseProcess,
    options: PixelOptions,
    images: Tensor,
    noise: Tensor,
    label: ConditionLike | None = None,
) -> Tensor:
    """Return what `PixelObjective` trains on: (B, C + VC, H, W) int16, the levels and the evidence at a draw of x_1.

    A missing pixel has the level -1. The evidence is in 1/32 of a half level. It costs one call of the diffusion
    network and serves many steps.

    Args:
        reverse: p_theta whose network gives xhat_0; it is not trained.
        options: of the pixel network.
        images: (B, C, H, W) uint8 levels.
        noise: (B, C, H, W) the noise of x_1.
        label: the condition of the images, or None.
    """
    observed = observed_of(label)
    x_0 = levels_to_data(images, options.levels)
    t = torch.ones(len(x_0), dtype=torch.int64, device=x_0.device)
    x_1 = reverse.forward_process.sample(x_0, t, noise)
    xhat_0 = hidden(reverse.predict(x_1, t, label).x_0, observed)
    seen = evidence(options, xhat_0, hidden(x_1, observed), float(reverse.schedule.signal[1]))
    stored = (on_grid(seen, options.levels) * PARTS).round().clamp(-LARGEST, LARGEST)
    levels = images.to(torch.int16)
    if observed is not None:
        levels = levels.masked_fill(~observed, -1)
    return torch.cat([levels, stored.to(torch.int16)], 1)


@dataclass
class PixelObjective:
    """L_0, nats per dimension, estimated from about `draws` passes, evenly spaced from a random first one.

    The choice of passes adds no bias. The evidence is rounded at a random place of the grid and hidden values are not
    rounded, so the mean differs slightly from L_0 of the finished `PixelDecoder`.

    Attributes:
        options: of the pixel network.
        draws: passes of a step; None for an eighth of the places of a square, and at least 2.
        stages: how often xhat_0 is predicted again while pixels become known (see `Pass.stage`); the examples hold one
            for each stage, before the other evidence.
    """

    options: PixelOptions
    draws: int | None = None
    stages: int = 1

    @property
    def num_draws(self) -> int:
        """The passes of a step."""
        return self.draws or max(2, self.options.side**2 // 8)

    def to(self, device: torch.device) -> None:
        """Do nothing: the objective has no tables."""

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw the place of the first pass, and the place of the grid on which the evidence is rounded.

        Returns:
            "first" (num,) within [0, 1), the same for all examples, and "offset" (num,) within [0, 1).
        """
        return {
            "first": torch.rand(1, generator=generator).expand(num),
            "offset": torch.rand(num, generator=generator),
        }

    def __call__(
        self, network: Callable[..., Tensor], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the estimate of L_0 of `pixel_examples` (B,), nats per dimension; no class is used."""
        levels, channels = self.options.levels, self.options.channels
        x, stored = images[:, :channels].long(), images[:, channels:].float() / PARTS
        observed = x >= 0
        center = (stored + draws["offset"].view(-1, 1, 1, 1)).floor().clamp(0, top_place(levels)).long()
        # on images smaller than a square, some passes have no pixel
        whole = [each for each in walk(tuple(x.shape[1:]), self.options.side) if each[1].of(center).numel()]
        every = max(len(whole) // self.num_draws, 1)
        sums = torch.zeros(len(x), device=x.device)
        for known, now in whole[int(float(draws["first"][0]) * every) :: every]:
            seen = self._of_stage(center, min(now.stage, self.stages - 1))
            output = network(features(seen, x, known.to(x.device) & observed, levels).float(), now)
            log2 = log2_masses(output, now.of(seen).float(), now.of(x).float(), levels)
            sums = sums + hidden(log2, now.of(observed)).flatten(1).sum(1)
        per_dim = -math.log(2) * every / observed.flatten(1).sum(1).clamp(min=1).double()
        loss = per_dim.float() * sums  # each pass is taken with a probability of 1 / every
        return Losses(loss, loss.detach(), unit=NATS)

    def _of_stage(self, center: Tensor, stage: int) -> Tensor:
        """Return the evidence at a stage: its xhat_0, and the rest."""
        channels = self.options.channels
        return torch.cat([center[:, stage * channels :][:, :channels], center[:, self.stages * channels :]], 1)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Do nothing: the passes are drawn evenly."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return nothing: the objective has no state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing."""
