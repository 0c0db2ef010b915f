"""The training objective of the second stage: that of a diffusion model, on draws of q(z|x)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.diffusion import DiffusionObjective
from nelbo.latent.space import LatentSpace
from nelbo.objective import Draws, Losses


@dataclass
class LatentObjective:
    """Algorithm 1 on the scaled latents of images: each step draws a new z ~ q(z|x) for each image.

    Attributes:
        diffusion: the objective of the diffusion model of u.
        space: encodes the images; it is not trained.
    """

    diffusion: DiffusionObjective
    space: LatentSpace

    def to(self, device: torch.device) -> None:
        """Move the tables of the schedule and the autoencoder to a device."""
        self.diffusion.to(device)
        self.space = self.space.to(device)

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw what the diffusion objective draws, in the shape of the latents, and "posterior" (num, L, h, w)."""
        own = self.space.autoencoder.options.latent_shape
        draws = self.diffusion.draw(num, own, generator)
        return {**draws, "posterior": torch.randn(num, *own, generator=generator)}

    def __call__(
        self, network: Callable[..., Tensor], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the loss of each example at its own z and t.

        Args:
            network: of the diffusion model.
            images: (B, C, H, W) of levels; or the moments of their latents, see `encoded_moments`.
            labels: classes of the images.
            draws: see `draw`.
        """
        moments = images if images.is_floating_point() else self.space.moments(self.space.data_of(images))
        mean, stddev = moments.chunk(2, dim=1)
        u = mean + stddev * draws["posterior"]
        return self.diffusion.of_data(network, u, labels, draws)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Update the distribution of t; see `DiffusionObjective.learn`."""
        self.diffusion.learn(draws, loss)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the distribution of t."""
        return self.diffusion.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        self.diffusion.load_state_dict(state)
